# A whole worker in Ruby.
#
#   client/examples/build.sh ruby
#   build/examples/ruby/twenty_steps HOST:PORT SESSION [PAUSE_MS]
#
# Takes 20 steps of three losses and prints the SHA-256 of all updates, which is
# the same from every language (docs/clients.md). PAUSE_MS: how long a "backward
# pass" takes.
require 'digest'
require 'securerandom'
require 'concord/v1/concord_services_pb'

LOSSES = 3
PARAMETERS = 300_007
STEPS = 20
RETRIES = 100
V1 = Concord::V1

# Numbers in [-1, 1) that float32 holds exactly: the same in every language.
def gradient(loss, step)
  base = 12_345 * (loss + 1) + step * 2_654_435_761
  numbers = Array.new(PARAMETERS) do |element|
    state = (element * 1_103_515_245 + base) & 0xFFFFFFFF
    ((state >> 16) - 32_768) / 32_768.0
  end
  numbers.pack('e*') # Little-endian float32.
end

# One Step stream: what was asked goes out, answers come in.
class Stream
  def initialize(stub)
    @outgoing = Queue.new
    requests = Enumerator.new do |out|
      while (message = @outgoing.pop)
        out << message
      end
    end
    @answers = stub.step(requests)
  end

  def send(**message)
    @outgoing << V1::StepRequest.new(**message)
  end

  def receive
    @answers.next
  end

  def close
    @outgoing << nil
  end
end

# Rank 0 of a session. A step whose stream breaks is asked for again.
class Worker
  def initialize(stub, session)
    @stub = stub
    @session = session
    # One for the life of the process: by it the server knows a retry.
    @incarnation = SecureRandom.random_number(2**64 - 1) + 1
    @uid = ''
    @applied = 0
  end

  def step(gradients)
    attempt = 0
    begin
      attempt += 1
      join unless @stream
      update = try(gradients, attempt)
    rescue GRPC::Unavailable, GRPC::Aborted
      @stream = nil
      raise if attempt == RETRIES

      sleep 0.1
      retry
    end
    @applied += 1
    update
  end

  def leave
    return unless @stream

    @stream.send(leave: V1::Leave.new)
    @stream.close
  end

  private

  def join
    join = V1::Join.new(session: @session, incarnation: @incarnation, uid: @uid)
    join.resume_step = @applied unless @uid.empty?
    stream = Stream.new(@stub)
    stream.send(join: join)
    joined = stream.receive.joined
    @uid = joined.uid
    @epoch = joined.epoch
    @chunk_bytes = [joined.max_chunk_bytes, 1 << 20].min
    @stream = stream
  end

  def try(gradients, attempt)
    vectors = gradients.keys.map do |loss|
      V1::VectorHeader.new(index: loss, data_type: :FLOAT32, length: PARAMETERS)
    end
    @stream.send(header: V1::StepHeader.new(step: @applied + 1, attempt: attempt,
                                            epoch: @epoch, vectors: vectors))
    gradients.values.each_with_index do |data, position|
      (0...data.bytesize).step(@chunk_bytes) do |offset|
        part = data.byteslice(offset, @chunk_bytes)
        @stream.send(chunk: V1::VectorChunk.new(vector: position, offset: offset, data: part))
      end
    end
    # Small updates come in one message, others in parts. Only with the trailer
    # is the update valid; its checksum (XXH3) is not looked at here.
    update = String.new(encoding: Encoding::BINARY)
    loop do
      answer = @stream.receive
      return answer.reply.data if answer.reply

      update << answer.chunk.data if answer.chunk
      return update if answer.trailer
    end
  end
end

server, name, pause = ARGV
stub = V1::Concord::Stub.new(server, :this_channel_is_insecure)
session = stub.create_session(
  V1::CreateSessionRequest.new(
    session_id: name,
    session: V1::Session.new(num_vectors: LOSSES, num_parameters: PARAMETERS)
  )
)
worker = Worker.new(stub, session.name)
digest = Digest::SHA256.new
(1..STEPS).each do |step|
  losses = step == 1 ? (0...LOSSES).to_a : [step % LOSSES]
  sleep pause.to_f / 1000
  digest << worker.step(losses.to_h { |loss| [loss, gradient(loss, step)] })
end
worker.leave
puts digest.hexdigest
