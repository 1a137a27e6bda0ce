#include "server/session/combine_call.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "operators/errors.h"
#include "tests/server/session/session_harness.h"

namespace concord {
namespace {

v1::CombineHeader Header(uint32_t vectors, uint64_t parameters) {
  v1::CombineHeader header;
  header.set_num_vectors(vectors);
  header.set_num_parameters(parameters);
  return header;
}

absl::Status Send(CombineCall* call, const std::vector<Vector>& vectors,
                  size_t chunk_bytes = 10'001) {
  for (uint32_t i = 0; i < vectors.size(); ++i) {
    const absl::Span<const std::byte> bytes = absl::MakeConstSpan(
        reinterpret_cast<const std::byte*>(vectors[i].data()),
        vectors[i].size() * sizeof(float));
    for (size_t offset = 0; offset < bytes.size(); offset += chunk_bytes) {
      const absl::Span<const std::byte> pieces[] = {
          bytes.subspan(offset, chunk_bytes)};
      const absl::Status status =
          call->Append({i, offset, pieces[0].size()}, pieces);
      if (!status.ok()) return status;
    }
  }
  return absl::OkStatus();
}

double Dot(const Vector& a, const Vector& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += double{a[i]} * b[i];
  return sum;
}

uint64_t ReservedBytes(const Harness& harness) {
  v1::ServerInfo info;
  harness.registry.Describe(&info);
  return info.memory_reserved_bytes();
}

TEST(Combine, TheResultHasEqualCosinesToAllVectors) {
  for (const size_t n : {kSmall, kLarge}) {
    Harness harness;
    const std::vector<Vector> vectors = {RandomVector(n, 1), RandomVector(n, 2),
                                         RandomVector(n, 3)};
    {
      auto call = harness.registry.StartCombine(Header(3, n));
      ASSERT_TRUE(call.ok()) << call.status();
      EXPECT_GT(ReservedBytes(harness), 4 * n * 4);
      ASSERT_TRUE(Send(call->get(), vectors).ok());
      EXPECT_TRUE((*call)->complete());
      absl::StatusOr<CombineReply> reply = (*call)->Finish();
      ASSERT_TRUE(reply.ok()) << reply.status();
      *call = nullptr;  // The reply stands on its own.
      const auto never = [] { return false; };
      ASSERT_TRUE(reply->update->Wait(n * 4, never).ok());
      Vector result(n);
      std::memcpy(result.data(), reply->update->data(), n * 4);
      EXPECT_NE((*reply->update->WaitForTrailer(never))->checksum(), 0);
      EXPECT_TRUE(reply->result.solution().conflict_free());
      const double first =
          Dot(result, vectors[0]) / std::sqrt(Dot(vectors[0], vectors[0]));
      EXPECT_GT(first, 0);
      for (const Vector& vector : vectors) {
        EXPECT_NEAR(Dot(result, vector) / std::sqrt(Dot(vector, vector)), first,
                    1e-5 * first);
      }
      EXPECT_GT(ReservedBytes(harness), 0);
    }
    // A committer's thread may hold a large result for a moment longer.
    if (n == kSmall) {
      EXPECT_EQ(ReservedBytes(harness), 0);
    }
  }
}

TEST(Combine, RefusesWhatIsWrongAndReservesNothing) {
  Limits limits;
  limits.memory_budget_bytes = 1 << 20;
  Harness harness(limits);
  const auto reason = [&](const v1::CombineHeader& header) {
    return Reason(harness.registry.StartCombine(header).status());
  };
  EXPECT_EQ(reason(Header(0, 10)), "INVALID_OPTION");
  EXPECT_EQ(reason(Header(2, 0)), "INVALID_OPTION");
  EXPECT_EQ(reason(Header(2, 1 << 20)), "LIMIT_EXCEEDED");
  EXPECT_EQ(reason(Header(2, std::numeric_limits<uint64_t>::max())),
            "LIMIT_EXCEEDED");
  v1::CombineHeader header = Header(2, 10);
  header.add_losses(1);
  EXPECT_EQ(reason(header), "LENGTH_MISMATCH");
  header = Header(2, 10);
  header.mutable_combiner()
      ->mutable_config()
      ->mutable_weight()
      ->mutable_given()
      ->add_weights(1);
  const absl::Status status = harness.registry.StartCombine(header).status();
  EXPECT_EQ(GetErrorDetail(status)->field,
            "header.combiner.config.weight.given.weights");
  auto call = harness.registry.StartCombine(Header(2, 10));
  ASSERT_TRUE(call.ok());
  EXPECT_EQ(Reason(Send(call->get(), {Vector(11)})), "CHUNK_TOO_LARGE");
  EXPECT_EQ(Reason((*call)->Finish().status()), "PROTOCOL_VIOLATION");
  Vector bad(10, 1.0f);
  bad[3] = std::nanf("");
  EXPECT_EQ(Reason(Send(call->get(), {bad})), "NON_FINITE");
  *call = nullptr;
  EXPECT_EQ(ReservedBytes(harness), 0);
}

}  // namespace
}  // namespace concord
