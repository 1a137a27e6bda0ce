// Flushes denormal inputs and results to zero while it lives, on this thread.
//
// One rule in every path (a momentum that decays towards zero would otherwise
// slow the passes down a hundredfold and round differently elsewhere).
#ifndef CONCORD_OPERATORS_KERNELS_FLUSH_DENORMALS_H_
#define CONCORD_OPERATORS_KERNELS_FLUSH_DENORMALS_H_

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

#include <cstdint>

namespace concord {

class FlushDenormals {
 public:
#if defined(__SSE2__)
  FlushDenormals() : before_(_mm_getcsr()) {
    constexpr unsigned kFlushToZero = 0x8000, kDenormalsAreZero = 0x0040;
    _mm_setcsr(before_ | kFlushToZero | kDenormalsAreZero);
  }
  ~FlushDenormals() { _mm_setcsr(before_); }
#elif defined(__aarch64__)
  FlushDenormals() {
    asm volatile("mrs %0, fpcr" : "=r"(before_));
    asm volatile("msr fpcr, %0" ::"r"(before_ | (uint64_t{1} << 24)));
  }
  ~FlushDenormals() { asm volatile("msr fpcr, %0" ::"r"(before_)); }
#else
#error "This processor's way to flush denormals is not known."
#endif
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
#if defined(__SSE2__)
  const unsigned before_;
#else
  uint64_t before_ = 0;
#endif
};

}  // namespace concord

#endif  // CONCORD_OPERATORS_KERNELS_FLUSH_DENORMALS_H_
