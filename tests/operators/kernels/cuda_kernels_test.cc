// The cuda module's passes have the cpu backend's bits.
#include <algorithm>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "tests/operators/kernels/cuda_fixture.h"

namespace concord {
namespace {

INSTANTIATE_TEST_SUITE_P(, CudaTest,
                         ::testing::Values(Where::kEmulated, Where::kGpu),
                         NameOf);

const size_t kSizes[] = {1, 3, 4096, 4097, 2 * 4096 + 1027};
const size_t kFewSizes[] = {3, 4096 + 1027};

// Many rows have the same loops around them as a few.
absl::Span<const size_t> SizesFor(int rows) {
  return rows > 8 ? absl::MakeConstSpan(kFewSizes)
                  : absl::MakeConstSpan(kSizes);
}

struct IngestCase {
  size_t n = 0;
  int rows = 0;
  bool momentum = true;
  bool staged = true;
  bool in_place = false;
  size_t offset = 0;  // Elements.
  std::optional<HalfType> half = std::nullopt;
  bool nan = false;
};

template <class T>
struct Ingested {
  std::vector<T> staged;
  std::vector<double> dots;
};

template <class T>
Ingested<T> RunIngest(Kernels& kernels, const IngestCase& test) {
  OnDevice device(&kernels, test.offset * sizeof(T));
  std::vector<T> gradient = MixedVector<T>(test.n, 1);
  if (test.nan) gradient[test.n / 2] = std::numeric_limits<T>::quiet_NaN();
  std::vector<const void*> rows;
  for (int j = 0; j < test.rows; ++j) {
    rows.push_back(device.Put(MixedVector<T>(test.n, 10 + j)));
  }
  IngestPass pass;
  pass.dtype = kDtype<T>;
  pass.count = test.n;
  pass.beta_1 = 0.9;
  void* staged = nullptr;
  if (test.half.has_value()) {
    std::vector<uint16_t> halves(test.n);
    for (size_t i = 0; i < test.n; ++i) halves[i] = 40503 * (i + 1);
    pass.gradient = device.Put(halves);
    pass.gradient_type = test.half;
  } else {
    staged = device.Put(gradient);
    pass.gradient = staged;
  }
  if (!test.in_place) staged = device.Put(std::vector<T>(test.n, 7));
  if (test.momentum) pass.momentum = device.Put(MixedVector<T>(test.n, 2));
  if (test.staged) pass.staged = staged;
  pass.rows = rows;
  Ingested<T> out;
  out.dots.resize(Blocks(kernels, test.n) * (rows.size() + 1), -1);
  pass.dots = out.dots.data();
  const absl::Status status = kernels.Ingest(pass);
  EXPECT_TRUE(status.ok()) << status;
  out.staged = device.Get<T>(staged, test.n);
  return out;
}

template <class T>
void ExpectIngestLikeTheCpus(Kernels& kernels, Kernels& cpu,
                             const IngestCase& test) {
  SCOPED_TRACE(::testing::Message()
               << "n = " << test.n << ", rows = " << test.rows);
  const Ingested<T> found = RunIngest<T>(kernels, test);
  const Ingested<T> expected = RunIngest<T>(cpu, test);
  EXPECT_TRUE(Same(found.staged, expected.staged));
  EXPECT_TRUE(Same(found.dots, expected.dots));
}

TEST_P(CudaTest, AnIngestHasTheCpusBits) {
  // Beside the vector itself: one row fewer than losses.
  for (const int rows : {0, 1, 2, 4, 7, 8, 32, 63}) {
    for (const size_t n : SizesFor(rows)) {
      const IngestCase test{.n = n, .rows = rows};
      ExpectIngestLikeTheCpus<float>(*kernels_, *cpu_, test);
      ExpectIngestLikeTheCpus<double>(*kernels_, *cpu_, test);
    }
  }
}

TEST_P(CudaTest, AnIngestInPlaceOrWithoutMomentumOrFromAnyAddressHasThemToo) {
  const size_t n = 2 * 4096 + 1001;
  for (const IngestCase& test :
       {IngestCase{.n = n, .rows = 3, .in_place = true},
        IngestCase{.n = n, .rows = 3, .momentum = false},
        IngestCase{.n = n, .rows = 9, .momentum = false, .staged = false},
        IngestCase{.n = n, .rows = 9, .momentum = false, .in_place = true},
        IngestCase{.n = n, .rows = 3, .offset = 1},
        IngestCase{.n = n, .rows = 3, .in_place = true, .offset = 3},
        IngestCase{.n = n, .rows = 3, .nan = true}}) {
    ExpectIngestLikeTheCpus<float>(*kernels_, *cpu_, test);
    ExpectIngestLikeTheCpus<double>(*kernels_, *cpu_, test);
  }
}

TEST_P(CudaTest, GradientsOf16BitsAreWidenedLikeTheCpus) {
  // All 65536 of them.
  for (const HalfType half : {HalfType::kBfloat16, HalfType::kFloat16}) {
    for (const size_t offset : {0, 1}) {
      for (const bool momentum : {false, true}) {
        ExpectIngestLikeTheCpus<float>(*kernels_, *cpu_,
                                       {.n = 65539,
                                        .rows = 2,
                                        .momentum = momentum,
                                        .offset = offset,
                                        .half = half});
      }
    }
  }
}

enum class Second { kNone, kRecomputed, kUpdated, kUpdatedBeside };

struct CommitCase {
  size_t n = 0;
  int rows = 0;
  int previous = 1;
  Second second = Second::kUpdated;
  bool dots = true;
  bool over_a_row = false;
  size_t offset = 0;
};

template <class T>
struct Committed {
  std::vector<T> update, second, new_second;
  std::vector<double> dots;
};

template <class T>
Committed<T> RunCommit(Kernels& kernels, const CommitCase& test) {
  OnDevice device(&kernels, test.offset * sizeof(T));
  std::mt19937 engine(5);
  std::uniform_real_distribution<double> uniform(-2, 2);
  std::vector<const void*> rows, previous_rows;
  std::vector<double> direction, pseudo, previous;
  for (int j = 0; j < test.rows; ++j) {
    rows.push_back(device.Put(MixedVector<T>(test.n, 20 + j)));
    direction.push_back(uniform(engine));
    pseudo.push_back(uniform(engine));
  }
  if (test.rows > 2) direction[1] = 1e-250;
  for (int p = 0; p < test.previous; ++p) {
    previous_rows.push_back(device.Put(MixedVector<T>(test.n, 90 + p)));
    previous.push_back(uniform(engine));
  }
  std::vector<T> second = MixedVector<T>(test.n, 3);
  for (T& value : second) value = std::abs(value);
  CommitPass pass;
  pass.dtype = kDtype<T>;
  pass.count = test.n;
  pass.rows = rows;
  pass.direction = direction;
  pass.pseudo = pseudo;
  pass.previous_rows = previous_rows;
  pass.previous = previous;
  void* const s = device.Put(second);
  void* const new_s = device.Put(std::vector<T>(test.n, 7));
  if (test.second != Second::kNone) pass.second = s;
  if (test.second == Second::kUpdatedBeside) pass.new_second = new_s;
  pass.update_second = test.second >= Second::kUpdated;
  pass.beta_2 = 0.999;
  pass.correction = 1.25;
  pass.update = test.over_a_row ? const_cast<void*>(rows.back())
                                : device.Put(std::vector<T>(test.n, 7));
  Committed<T> out;
  if (test.dots) {
    out.dots.resize(Blocks(kernels, test.n) * (rows.size() + 1), -1);
    pass.update_dots = out.dots.data();
  }
  const absl::Status status = kernels.Commit(pass);
  EXPECT_TRUE(status.ok()) << status;
  out.update = device.Get<T>(pass.update, test.n);
  out.second = device.Get<T>(s, test.n);
  out.new_second = device.Get<T>(new_s, test.n);
  return out;
}

template <class T>
void ExpectCommitLikeTheCpus(Kernels& kernels, Kernels& cpu,
                             const CommitCase& test) {
  SCOPED_TRACE(::testing::Message()
               << "n = " << test.n << ", rows = " << test.rows << ", form "
               << static_cast<int>(test.second));
  const Committed<T> found = RunCommit<T>(kernels, test);
  const Committed<T> expected = RunCommit<T>(cpu, test);
  EXPECT_TRUE(Same(found.update, expected.update));
  EXPECT_TRUE(Same(found.second, expected.second));
  EXPECT_TRUE(Same(found.new_second, expected.new_second));
  EXPECT_TRUE(Same(found.dots, expected.dots));
}

TEST_P(CudaTest, ACommitHasTheCpusBits) {
  for (const int rows : {1, 2, 3, 5, 8, 33, 64}) {
    for (const size_t n : SizesFor(rows)) {
      for (const bool dots : {false, true}) {
        const CommitCase test{.n = n, .rows = rows, .dots = dots};
        ExpectCommitLikeTheCpus<float>(*kernels_, *cpu_, test);
        ExpectCommitLikeTheCpus<double>(*kernels_, *cpu_, test);
      }
    }
  }
}

TEST_P(CudaTest, ACommitOfAnyFormHasThemToo) {
  const size_t n = 4096 + 1001;
  for (const CommitCase& test :
       {CommitCase{.n = n, .rows = 3, .second = Second::kNone},
        CommitCase{.n = n, .rows = 3, .second = Second::kRecomputed},
        CommitCase{.n = n, .rows = 3, .second = Second::kUpdatedBeside},
        CommitCase{.n = n, .rows = 0, .previous = 0},
        CommitCase{.n = n, .rows = 5, .previous = 5},
        CommitCase{.n = n, .rows = 2, .offset = 1},
        // More rows than a kernel's argument has room for.
        CommitCase{.n = n, .rows = 100, .previous = 100},
        CommitCase{
            .n = n, .rows = 2, .second = Second::kNone, .over_a_row = true},
        CommitCase{.n = n,
        .rows = 9,
        .second = Second::kNone,
        .dots = false,
        .over_a_row = true}}) {
    ExpectCommitLikeTheCpus<float>(*kernels_, *cpu_, test);
    ExpectCommitLikeTheCpus<double>(*kernels_, *cpu_, test);
  }
}

template <class T>
struct Separated {
  std::vector<T> momentum, second, rescaled;
};

template <class T>
Separated<T> RunSeparate(Kernels& kernels, size_t n, bool gradient,
                         bool in_place, size_t offset) {
  OnDevice device(&kernels, offset * sizeof(T));
  std::vector<T> second = MixedVector<T>(n, 3);
  for (T& value : second) value = std::abs(value);
  SeparatePass pass;
  pass.dtype = kDtype<T>;
  pass.count = n;
  pass.momentum = device.Put(MixedVector<T>(n, 2));
  pass.second = device.Put(second);
  void* const given = device.Put(MixedVector<T>(n, 1));
  pass.new_momentum = in_place ? given : device.Put(std::vector<T>(n, 7));
  pass.new_second = device.Put(std::vector<T>(n, 7));
  if (gradient) pass.gradient = given;
  pass.beta_1 = 0.9;
  pass.beta_2 = 0.999;
  pass.scale = 1.5;
  pass.second_scale = 2.5;
  pass.rescaled = device.Put(std::vector<T>(n, 7));
  const absl::Status status = kernels.Separate(pass);
  EXPECT_TRUE(status.ok()) << status;
  return {device.Get<T>(pass.new_momentum, n),
          device.Get<T>(pass.new_second, n), device.Get<T>(pass.rescaled, n)};
}

template <class T>
void ExpectSeparateLikeTheCpus(Kernels& kernels, Kernels& cpu) {
  for (const size_t n : kSizes) {
    for (int form = 0; form < 8; ++form) {
      const bool gradient = (form & 1) != 0, in_place = (form & 2) != 0;
      const size_t offset = form / 4;
      const Separated<T> found =
          RunSeparate<T>(kernels, n, gradient, in_place, offset);
      const Separated<T> expected =
          RunSeparate<T>(cpu, n, gradient, in_place, offset);
      EXPECT_TRUE(Same(found.momentum, expected.momentum));
      EXPECT_TRUE(Same(found.second, expected.second));
      EXPECT_TRUE(Same(found.rescaled, expected.rescaled));
    }
  }
}

TEST_P(CudaTest, SeparateMomentaHaveTheCpusBits) {
  ExpectSeparateLikeTheCpus<float>(*kernels_, *cpu_);
  ExpectSeparateLikeTheCpus<double>(*kernels_, *cpu_);
}

template <class T>
std::vector<T> RunColumns(Kernels& kernels, size_t n, int rows,
                          const ColumnRule& rule) {
  OnDevice device(&kernels, 0);
  std::vector<const void*> vectors;
  std::vector<double> scales;
  for (int i = 0; i < rows; ++i) {
    std::vector<T> row = MixedVector<T>(n, 30 + i);
    // Equal ones in a column too.
    for (size_t e = 0; e < n; e += 3) row[e] = static_cast<T>(e % 7);
    vectors.push_back(device.Put(row));
    scales.push_back(1 + 0.25 * i);
  }
  ColumnPass pass;
  pass.dtype = kDtype<T>;
  pass.first = 8192;
  pass.count = n;
  pass.rows = vectors;
  pass.scales = scales;
  pass.rule = &rule;
  pass.direction = device.Put(std::vector<T>(n, 7));
  const absl::Status status = kernels.CombineColumns(pass);
  EXPECT_TRUE(status.ok()) << status;
  return device.Get<T>(pass.direction, n);
}

TEST_P(CudaTest, RulesOnColumnsHaveTheCpusBits) {
  for (const int rows : {1, 2, 3, 8, 33, 140}) {
    for (const size_t n : {size_t{3}, size_t{1027}}) {
      std::vector<double> leak;
      for (int i = 0; i < rows; ++i) leak.push_back(i % 3 * 0.4);
      for (const ColumnRule& rule :
           {ColumnRule(SignDropRule{5, 7, leak}),
            ColumnRule(TrimmedMeanRule{0}),
            ColumnRule(TrimmedMeanRule{(rows - 1) / 2})}) {
        SCOPED_TRACE(::testing::Message() << "n = " << n << ", rows = " << rows
                                          << ", rule " << rule.index());
        EXPECT_TRUE(Same(RunColumns<float>(*kernels_, n, rows, rule),
                         RunColumns<float>(*cpu_, n, rows, rule)));
        EXPECT_TRUE(Same(RunColumns<double>(*kernels_, n, rows, rule),
                         RunColumns<double>(*cpu_, n, rows, rule)));
      }
    }
  }
}

TEST_P(CudaTest, CopiesAndZeroedMemoryWork) {
  // Less than a piece of a copy, several, and a rest.
  for (const size_t bytes :
       {size_t{1}, size_t{70'001}, (size_t{5} << 20) + 3}) {
    std::vector<uint8_t> values(bytes), back(bytes, 1);
    for (size_t i = 0; i < bytes; ++i) values[i] = (i * 2654435761u) >> 24;
    auto memory = kernels_->Allocate(bytes), second = kernels_->Allocate(bytes);
    ASSERT_TRUE(memory.ok()) << memory.status();
    ASSERT_TRUE(second.ok()) << second.status();
    ASSERT_GE((*memory)->size(), bytes);
    void* const data = (*memory)->data();
    ASSERT_TRUE(kernels_->CopyToHost(back.data(), data, bytes).ok());
    EXPECT_EQ(back, std::vector<uint8_t>(bytes, 0));
    ASSERT_TRUE(kernels_->CopyFromHost(data, values.data(), bytes).ok());
    ASSERT_TRUE(kernels_->CopyOnDevice((*second)->data(), data, bytes).ok());
    ASSERT_TRUE(
        kernels_->CopyToHost(back.data(), (*second)->data(), bytes).ok());
    EXPECT_EQ(back, values);
  }
}

TEST_P(CudaTest, MemoryThatTheDeviceHasNotIsResourceExhausted) {
  const auto memory = kernels_->Allocate(size_t{1} << 60);
  EXPECT_EQ(memory.status().code(), absl::StatusCode::kResourceExhausted);
  // And nothing is left of it.
  EXPECT_TRUE(kernels_->Allocate(1).ok());
}

TEST_P(CudaTest, CallsOfSeveralThreadsDoNotMeet) {
  const IngestCase test{.n = 20'000, .rows = 3};
  const Ingested<float> expected = RunIngest<float>(*cpu_, test);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int turn = 0; turn < 3; ++turn) {
        const Ingested<float> found = RunIngest<float>(*kernels_, test);
        EXPECT_TRUE(Same(found.staged, expected.staged));
        EXPECT_TRUE(Same(found.dots, expected.dots));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace concord
