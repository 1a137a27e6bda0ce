import com.google.protobuf.ByteString;
import concord.v1.ConcordGrpc;
import concord.v1.Operators.DataType;
import concord.v1.SessionOuterClass.CreateSessionRequest;
import concord.v1.SessionOuterClass.Session;
import concord.v1.Step.Join;
import concord.v1.Step.Joined;
import concord.v1.Step.Leave;
import concord.v1.Step.StepHeader;
import concord.v1.Step.StepRequest;
import concord.v1.Step.StepResponse;
import concord.v1.Step.VectorChunk;
import concord.v1.Step.VectorHeader;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.NettyChannelBuilder;
import io.grpc.stub.StreamObserver;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.security.MessageDigest;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;

/**
 * A whole worker in Java.
 *
 * <pre>
 * client/examples/build.sh java
 * build/examples/java/twenty_steps HOST:PORT SESSION [PAUSE_MS]
 * </pre>
 *
 * Takes 20 steps of three losses and prints the SHA-256 of all updates, which is the same from
 * every language (docs/clients.md). PAUSE_MS: how long a "backward pass" takes.
 */
public final class TwentySteps {
  static final int LOSSES = 3, PARAMETERS = 300_007, STEPS = 20, RETRIES = 100;

  /** Numbers in [-1, 1) that float32 holds exactly: the same in every language. */
  static byte[] gradient(long loss, long step) {
    long base = 12345 * (loss + 1) + step * 2654435761L;
    ByteBuffer data = ByteBuffer.allocate(4 * PARAMETERS).order(ByteOrder.LITTLE_ENDIAN);
    for (long element = 0; element < PARAMETERS; element++) {
      long state = (element * 1103515245L + base) & 0xFFFFFFFFL;
      data.putFloat(((state >> 16) - 32768) / 32768f);
    }
    return data.array();
  }

  /** One Step stream: what was asked goes out, answers come in. */
  static final class Stream implements StreamObserver<StepResponse> {
    private final BlockingQueue<Object> answers = new LinkedBlockingQueue<>();
    private final StreamObserver<StepRequest> requests;

    Stream(ConcordGrpc.ConcordStub stub) {
      requests = stub.step(this);
    }

    void send(StepRequest.Builder request) {
      requests.onNext(request.build());
    }

    StepResponse receive() throws InterruptedException {
      Object answer = answers.take();
      if (answer instanceof StepResponse) {
        return (StepResponse) answer;
      }
      answers.add(answer); // The end stays the end.
      throw (StatusRuntimeException) answer;
    }

    void close() {
      requests.onCompleted();
    }

    @Override
    public void onNext(StepResponse answer) {
      answers.add(answer);
    }

    @Override
    public void onError(Throwable error) {
      answers.add(Status.fromThrowable(error).asRuntimeException());
    }

    @Override
    public void onCompleted() {
      answers.add(Status.UNAVAILABLE.withDescription("the stream has ended").asRuntimeException());
    }
  }

  /** Rank 0 of a session. A step whose stream breaks is asked for again. */
  static final class Worker {
    private final ConcordGrpc.ConcordStub stub;
    private final String session;
    // One for the life of the process: by it the server knows a retry.
    private final long incarnation = new Random().nextLong() | 1;
    private Stream stream;
    private String uid = "";
    private long epoch, applied;
    private int chunkBytes;

    Worker(ConcordGrpc.ConcordStub stub, String session) {
      this.stub = stub;
      this.session = session;
    }

    byte[] step(Map<Integer, byte[]> gradients) throws Exception {
      for (int attempt = 1; ; attempt++) {
        try {
          if (stream == null) {
            join();
          }
          byte[] update = tryOnce(gradients, attempt);
          applied++;
          return update;
        } catch (StatusRuntimeException error) {
          stream = null;
          Status.Code code = error.getStatus().getCode();
          if ((code != Status.Code.UNAVAILABLE && code != Status.Code.ABORTED)
              || attempt == RETRIES) {
            throw error;
          }
          Thread.sleep(100);
        }
      }
    }

    private void join() throws InterruptedException {
      Join.Builder join =
          Join.newBuilder().setSession(session).setIncarnation(incarnation).setUid(uid);
      if (!uid.isEmpty()) {
        join.setResumeStep(applied);
      }
      Stream joining = new Stream(stub);
      joining.send(StepRequest.newBuilder().setJoin(join));
      Joined joined = joining.receive().getJoined();
      uid = joined.getUid();
      epoch = joined.getEpoch();
      chunkBytes = (int) Math.min(joined.getMaxChunkBytes(), 1 << 20);
      stream = joining;
    }

    private byte[] tryOnce(Map<Integer, byte[]> gradients, int attempt) throws Exception {
      StepHeader.Builder header =
          StepHeader.newBuilder().setStep(applied + 1).setAttempt(attempt).setEpoch(epoch);
      for (int loss : gradients.keySet()) {
        header.addVectors(
            VectorHeader.newBuilder()
                .setIndex(loss)
                .setDataType(DataType.FLOAT32)
                .setLength(PARAMETERS));
      }
      stream.send(StepRequest.newBuilder().setHeader(header));
      int position = 0;
      for (byte[] data : gradients.values()) {
        for (int offset = 0; offset < data.length; offset += chunkBytes) {
          int length = Math.min(chunkBytes, data.length - offset);
          stream.send(
              StepRequest.newBuilder()
                  .setChunk(
                      VectorChunk.newBuilder()
                          .setVector(position)
                          .setOffset(offset)
                          .setData(ByteString.copyFrom(data, offset, length))));
        }
        position++;
      }
      // Small updates come in one message, others in parts. Only with the trailer is the update
      // valid; its checksum (XXH3) is not looked at here.
      ByteArrayOutputStream update = new ByteArrayOutputStream();
      while (true) {
        StepResponse answer = stream.receive();
        if (answer.hasReply()) {
          return answer.getReply().getData().toByteArray();
        }
        if (answer.hasChunk()) {
          answer.getChunk().getData().writeTo(update);
        }
        if (answer.hasTrailer()) {
          return update.toByteArray();
        }
      }
    }

    void leave() {
      if (stream != null) {
        stream.send(StepRequest.newBuilder().setLeave(Leave.getDefaultInstance()));
        stream.close();
      }
    }
  }

  public static void main(String[] arguments) throws Exception {
    long pause = arguments.length > 2 ? Long.parseLong(arguments[2]) : 0;
    ManagedChannel channel = NettyChannelBuilder.forTarget(arguments[0]).usePlaintext().build();
    try {
      Session session =
          ConcordGrpc.newBlockingStub(channel)
              .createSession(
                  CreateSessionRequest.newBuilder()
                      .setSessionId(arguments[1])
                      .setSession(
                          Session.newBuilder()
                              .setNumVectors(LOSSES)
                              .setNumParameters(PARAMETERS))
                      .build());
      Worker worker = new Worker(ConcordGrpc.newStub(channel), session.getName());
      MessageDigest digest = MessageDigest.getInstance("SHA-256");
      for (int step = 1; step <= STEPS; step++) {
        Map<Integer, byte[]> gradients = new TreeMap<>();
        for (int loss = 0; loss < LOSSES; loss++) {
          if (step == 1 || loss == step % LOSSES) {
            gradients.put(loss, gradient(loss, step));
          }
        }
        Thread.sleep(pause);
        digest.update(worker.step(gradients));
      }
      worker.leave();
      StringBuilder text = new StringBuilder();
      for (byte value : digest.digest()) {
        text.append(String.format("%02x", value));
      }
      System.out.println(text);
    } finally {
      channel.shutdown().awaitTermination(10, java.util.concurrent.TimeUnit.SECONDS);
    }
  }
}
