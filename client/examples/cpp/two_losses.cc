// Two losses that pull apart, trained through a Concord server.
//
//   concord-server --listen=127.0.0.1:7070 &
//   example_two_losses 127.0.0.1:7070
//
// Both are quadratic bowls, |x - a|^2 and 10 |x - b|^2, with different minima:
// each step the server turns their two gradients into one update that lets both
// go down as long as that is possible.
#include <cstdio>
#include <vector>

#include "client/cpp/client.h"

namespace {

constexpr size_t kParameters = 1000;
constexpr int kSteps = 20;
constexpr float kRate = 0.05f;

// weight * |x - minimum|^2 per parameter, and its gradient.
struct Bowl {
  float weight;
  float minimum;

  double Loss(const std::vector<float>& x) const {
    double sum = 0;
    for (const float value : x) {
      sum += weight * (value - minimum) * (value - minimum);
    }
    return sum / static_cast<double>(x.size());
  }
  std::vector<float> Gradient(const std::vector<float>& x) const {
    std::vector<float> gradient(x.size());
    for (size_t i = 0; i < x.size(); ++i) {
      gradient[i] =
          2 * weight * (x[i] - minimum) / static_cast<float>(x.size());
    }
    return gradient;
  }
};

absl::Status Train(const char* server) {
  auto client = concord::Client::Connect(server);
  if (!client.ok()) return client.status();

  // All options that are not set have their defaults: ConFIG with equal
  // weights, pseudo momentum, one worker, float32.
  concord::v1::CreateSessionRequest request;
  request.mutable_session()->set_num_vectors(2);
  request.mutable_session()->set_num_parameters(kParameters);
  auto session = (*client)->CreateSession(request);
  if (!session.ok()) return session.status();

  concord::WorkerOptions options;
  options.session = session->name();
  auto worker = (*client)->OpenWorker(options);
  if (!worker.ok()) return worker.status();

  const Bowl first{1, -0.2f};
  const Bowl second{10, 0.2f};
  std::vector<float> x(kParameters, 1.5f);
  std::vector<float> update(kParameters);
  for (int step = 1; step <= kSteps; ++step) {
    const std::vector<float> g0 = first.Gradient(x);
    const std::vector<float> g1 = second.Gradient(x);
    const concord::StepVector gradients[] = {{0, g0.data()}, {1, g1.data()}};
    auto outcome = (*worker)->Step(gradients, {}, update.data());
    if (!outcome.ok()) return outcome.status();
    for (size_t i = 0; i < kParameters; ++i) x[i] -= kRate * update[i];
    std::printf("step %2d  losses %8.4f %8.4f  conflict-free %s\n", step,
                first.Loss(x), second.Loss(x),
                outcome->result.solution().conflict_free() ? "yes" : "no");
  }
  worker->reset();  // Leaves the session.
  return (*client)->DeleteSession(session->name(), session->uid());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s HOST:PORT|unix:/path\n", argv[0]);
    return 2;
  }
  const absl::Status status = Train(argv[1]);
  if (status.ok()) return 0;
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return 1;
}
