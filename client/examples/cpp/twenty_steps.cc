// The session of the workers in other languages (docs/clients.md), in C++.
//
//   example_twenty_steps HOST:PORT SESSION [PAUSE_MS]
//
// Takes 20 steps of three losses and prints the SHA-256 of all updates, which
// is the same from every language. PAUSE_MS: how long a "backward pass" takes.
#include <openssl/evp.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "absl/time/clock.h"
#include "client/cpp/client.h"

namespace {

constexpr uint32_t kLosses = 3;
constexpr uint64_t kParameters = 300'007;
constexpr uint64_t kSteps = 20;

// Numbers in [-1, 1) that float32 holds exactly: the same in every language.
std::vector<float> Gradient(uint64_t loss, uint64_t step) {
  const uint64_t base = 12345 * (loss + 1) + step * 2654435761;
  std::vector<float> gradient(kParameters);
  for (uint64_t element = 0; element < kParameters; ++element) {
    const uint64_t state = (element * 1103515245 + base) & 0xFFFFFFFF;
    gradient[element] =
        static_cast<float>(static_cast<int64_t>(state >> 16) - 32768) / 32768;
  }
  return gradient;
}

absl::Status Train(const char* server, const char* name, absl::Duration pause) {
  auto client = concord::Client::Connect(server);
  if (!client.ok()) return client.status();
  concord::v1::CreateSessionRequest request;
  request.set_session_id(name);
  request.mutable_session()->set_num_vectors(kLosses);
  request.mutable_session()->set_num_parameters(kParameters);
  auto session = (*client)->CreateSession(request);
  if (!session.ok()) return session.status();
  concord::WorkerOptions options;
  options.session = session->name();
  auto worker = (*client)->OpenWorker(options);
  if (!worker.ok()) return worker.status();

  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> digest(
      EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  EVP_DigestInit_ex(digest.get(), EVP_sha256(), nullptr);
  std::vector<float> update(kParameters);
  for (uint64_t step = 1; step <= kSteps; ++step) {
    std::vector<std::vector<float>> gradients;
    std::vector<concord::StepVector> contributions;
    for (uint64_t loss = 0; loss < kLosses; ++loss) {
      if (step > 1 && loss != step % kLosses) continue;
      gradients.push_back(Gradient(loss, step));
      contributions.push_back(
          {static_cast<int>(loss), gradients.back().data()});
    }
    absl::SleepFor(pause);
    auto outcome = (*worker)->Step(contributions, {}, update.data());
    if (!outcome.ok()) return outcome.status();
    EVP_DigestUpdate(digest.get(), update.data(),
                     update.size() * sizeof(float));
  }
  unsigned char hash[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  EVP_DigestFinal_ex(digest.get(), hash, &size);
  for (unsigned int i = 0; i < size; ++i) std::printf("%02x", hash[i]);
  std::printf("\n");
  return absl::OkStatus();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "Usage: %s HOST:PORT SESSION [PAUSE_MS]\n", argv[0]);
    return 2;
  }
  const absl::Status status = Train(
      argv[1], argv[2], absl::Milliseconds(argc > 3 ? std::atoi(argv[3]) : 0));
  if (status.ok()) return 0;
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return 1;
}
