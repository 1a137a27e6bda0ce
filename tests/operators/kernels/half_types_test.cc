#include "operators/kernels/half_types.h"

#include <cfenv>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <vector>

#include "absl/base/casts.h"
#include "gtest/gtest.h"
#include "hwy/targets.h"
#include "operators/kernels/flush_denormals.h"

namespace concord {
namespace {

struct Format {
  HalfType type;
  int mantissa_bits;  // Stored ones.
  int bias;
};

constexpr Format kFormats[] = {{HalfType::kBfloat16, 7, 127},
                               {HalfType::kFloat16, 10, 15}};

uint32_t Bits(float value) { return absl::bit_cast<uint32_t>(value); }
float FromBits(uint32_t bits) { return absl::bit_cast<float>(bits); }

// By arithmetic, where the code under test shifts bits.
float WidenedByArithmetic(const Format& format, uint16_t half) {
  const int m = format.mantissa_bits;
  const int exponent = (half & 0x7fff) >> m;
  const int mantissa = half & ((1 << m) - 1);
  const float sign = (half & 0x8000) != 0 ? -1.0F : 1.0F;
  if (exponent == 2 * format.bias + 1) {
    if (mantissa == 0) return sign * std::numeric_limits<float>::infinity();
    return FromBits((half & 0x8000u) << 16 | 0x7f800000 | mantissa << (23 - m));
  }
  if (exponent == 0) {
    return sign * static_cast<float>(
                      std::ldexp(double(mantissa), 1 - format.bias - m));
  }
  return sign * static_cast<float>(std::ldexp(double(mantissa + (1 << m)),
                                              exponent - format.bias - m));
}

uint16_t NarrowedByArithmetic(const Format& format, float value) {
  const int m = format.mantissa_bits;
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const auto infinity = static_cast<uint16_t>((2 * format.bias + 1) << m);
  if (std::isnan(value)) {
    return sign | infinity | 1 << (m - 1) |
           ((Bits(value) & 0x7fffff) >> (23 - m));
  }
  if (std::isinf(value)) return sign | infinity;
  if (value == 0) return sign;
  const double magnitude = std::abs(double(value));
  const int exponent = std::max(std::ilogb(magnitude), 1 - format.bias);
  // In units of the last place; nearbyint rounds ties to even.
  double units = std::nearbyint(std::ldexp(magnitude, m - exponent));
  // Biased exponent 0 for a denormal; a carry moves into it as it should.
  const double encoded =
      std::ldexp(double(exponent + format.bias - 1), m) + units;
  return sign | static_cast<uint16_t>(std::min<double>(encoded, infinity));
}

// Runs `check` under every instruction set of this machine.
void OnEveryTarget(const std::function<void()>& check) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    SCOPED_TRACE(hwy::TargetName(target));
    check();
  }
  hwy::SetSupportedTargetsForTest(0);
}

// Random bits, and what is about every 16-bit number: itself, the ties beside
// it and their neighbours.
std::vector<float> InterestingFloats(const Format& format) {
  std::vector<float> values;
  for (uint32_t half = 0; half < 0x10000; ++half) {
    const uint32_t bits =
        Bits(WidenedByArithmetic(format, static_cast<uint16_t>(half)));
    const uint32_t tie = 1u << (22 - format.mantissa_bits);
    for (const uint32_t near : {bits, bits + tie, bits - tie}) {
      for (const int by : {-1, 0, 1}) values.push_back(FromBits(near + by));
    }
  }
  std::mt19937 engine(7);
  for (int i = 0; i < 200'000; ++i) values.push_back(FromBits(engine()));
  for (uint32_t bits = 0; bits < 0x800000; bits += 4099) {
    values.push_back(FromBits(bits));               // Denormals.
    values.push_back(FromBits(0x7f800000 + bits));  // NaN, with payloads.
    values.push_back(FromBits(0xff800000 + bits));
  }
  for (const float value : {65504.0F, 65519.996F, 65520.0F, 65536.0F, 0x1p-24F,
                            0x1p-25F, 0x1.000002p-25F}) {
    values.push_back(value);
    values.push_back(-value);
  }
  return values;
}

TEST(HalfTypes, EveryPatternIsWidenedExactly) {
  std::vector<uint16_t> patterns(0x10000);
  for (size_t i = 0; i < patterns.size(); ++i) patterns[i] = i;
  for (const Format& format : kFormats) {
    OnEveryTarget([&] {
      std::vector<float> widened(patterns.size());
      Widen(format.type, patterns.data(), patterns.size(), widened.data());
      for (size_t i = 0; i < patterns.size(); ++i) {
        ASSERT_EQ(Bits(widened[i]),
                  Bits(WidenedByArithmetic(format, patterns[i])))
            << i;
      }
    });
  }
}

TEST(HalfTypes, NarrowingRoundsToNearestWithTiesToEven) {
  ASSERT_EQ(std::fegetround(), FE_TONEAREST);
  for (const Format& format : kFormats) {
    const std::vector<float> values = InterestingFloats(format);
    OnEveryTarget([&] {
      std::vector<uint16_t> narrowed(values.size());
      Narrow(format.type, values.data(), values.size(), narrowed.data());
      for (size_t i = 0; i < values.size(); ++i) {
        ASSERT_EQ(narrowed[i], NarrowedByArithmetic(format, values[i]))
            << std::hexfloat << values[i];
      }
    });
  }
}

TEST(HalfTypes, DenormalsAreKeptWhereTheProcessorFlushesThem) {
  for (const Format& format : kFormats) {
    const std::vector<float> values = InterestingFloats(format);
    std::vector<uint16_t> kept(values.size()), flushed(values.size());
    Narrow(format.type, values.data(), values.size(), kept.data());
    std::vector<float> wide(values.size()), wide_flushed(values.size());
    Widen(format.type, kept.data(), kept.size(), wide.data());
    {
      const FlushDenormals flush;
      Narrow(format.type, values.data(), values.size(), flushed.data());
      Widen(format.type, kept.data(), kept.size(), wide_flushed.data());
    }
    EXPECT_EQ(kept, flushed);
    EXPECT_EQ(std::memcmp(wide.data(), wide_flushed.data(),
                          wide.size() * sizeof(float)),
              0);
  }
}

TEST(HalfTypes, EveryNumberSurvivesWideningAndNarrowing) {
  for (const Format& format : kFormats) {
    for (uint32_t half = 0; half < 0x10000; ++half) {
      const auto pattern = static_cast<uint16_t>(half);
      float wide = 0;
      uint16_t back = 0;
      Widen(format.type, &pattern, 1, &wide);
      Narrow(format.type, &wide, 1, &back);
      // A signalling NaN becomes a quiet one.
      const int quiet = std::isnan(wide) ? 1 << (format.mantissa_bits - 1) : 0;
      ASSERT_EQ(back, half | quiet);
    }
  }
}

TEST(HalfTypes, LengthAndAddressDoNotMatter) {
  std::mt19937 engine(3);
  std::vector<float> values(3000);
  for (float& value : values) value = std::normal_distribution<float>()(engine);
  std::vector<std::byte> whole(values.size() * kHalfBytes);
  for (const Format& format : kFormats) {
    Narrow(format.type, values.data(), values.size(), whole.data());
    for (const size_t count : {0, 1, 7, 16, 33, 2999}) {
      std::vector<std::byte> at_odd(count * kHalfBytes + 1);
      Narrow(format.type, values.data(), count, at_odd.data() + 1);
      EXPECT_TRUE(std::equal(at_odd.begin() + 1, at_odd.end(), whole.begin()));
      std::vector<float> wide(count), expected(count);
      Widen(format.type, at_odd.data() + 1, count, wide.data());
      Widen(format.type, whole.data(), count, expected.data());
      EXPECT_EQ(wide, expected);
    }
  }
}

TEST(HalfReader, PiecesThatSplitElementsGiveTheSameNumbers) {
  std::mt19937 engine(5);
  std::vector<uint16_t> halves(5000);
  for (uint16_t& half : halves) half = engine() & 0x3fff;
  const auto bytes = absl::MakeConstSpan(
      reinterpret_cast<const std::byte*>(halves.data()), halves.size() * 2);
  for (const Format& format : kFormats) {
    std::vector<float> expected(halves.size());
    Widen(format.type, halves.data(), halves.size(), expected.data());
    for (const size_t piece : {1, 2, 3, 999, 4096, 4097, 10'000}) {
      HalfReader reader(format.type);
      std::vector<float> read(halves.size());
      size_t done = 0;
      for (size_t begin = 0; begin < bytes.size(); begin += piece) {
        const auto part = bytes.subspan(begin, piece);
        const size_t completes = reader.Completes(part.size());
        const size_t count = reader.Read(part, read.data() + done);
        ASSERT_EQ(count, completes);
        done += count;
      }
      EXPECT_EQ(done, read.size()) << piece;
      EXPECT_EQ(read, expected) << piece;
    }
  }
}

}  // namespace
}  // namespace concord
