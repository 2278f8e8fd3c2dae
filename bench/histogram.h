// Latencies in logarithmic buckets with 128 linear steps each: 0.8 % wide, no allocation, addable.
// Trivially copyable, because it travels through memory shared between the processes of a run.
#ifndef TERN_BENCH_HISTOGRAM_H_
#define TERN_BENCH_HISTOGRAM_H_

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace tern::bench {

class Histogram {
 public:
  static constexpr unsigned kStepBits = 7;
  static constexpr std::uint64_t kSteps = std::uint64_t{1} << kStepBits;
  static constexpr unsigned kValueBits = 40;  // 2^40 ns: 18 minutes
  static constexpr std::uint64_t kValueMax = (std::uint64_t{1} << kValueBits) - 1;
  static constexpr std::size_t kBuckets = (kValueBits - kStepBits + 1) * kSteps;

  void record(std::uint64_t value) noexcept {
    value = std::min(value, kValueMax);
    ++buckets_[index_of(value)];
    ++count_;
    max_ = std::max(max_, value);
  }

  void add(const Histogram& other) noexcept {
    for (std::size_t i = 0; i < kBuckets; ++i) buckets_[i] += other.buckets_[i];
    count_ += other.count_;
    max_ = std::max(max_, other.max_);
  }

  // The least bucket bound below or at which `share` (0 to 1) of the values lie; 0 when nothing was
  // recorded.
  std::uint64_t percentile(double share) const noexcept {
    if (count_ == 0) return 0;
    const std::uint64_t rank = std::clamp<std::uint64_t>(
        static_cast<std::uint64_t>(std::ceil(share * static_cast<double>(count_))), 1, count_);
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < kBuckets; ++i) {
      seen += buckets_[i];
      if (seen >= rank) return std::min(highest_of(i), max_);
    }
    return max_;
  }

  // Values below or in the bucket of `value`.
  std::uint64_t count_up_to(std::uint64_t value) const noexcept {
    const std::size_t last = index_of(std::min(value, kValueMax));
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i <= last; ++i) seen += buckets_[i];
    return seen;
  }

  double mean() const noexcept {
    if (count_ == 0) return 0;
    double sum = 0;
    for (std::size_t i = 0; i < kBuckets; ++i)
      sum += static_cast<double>(buckets_[i]) * middle_of(i);
    return sum / static_cast<double>(count_);
  }

  double deviation() const noexcept {
    if (count_ == 0) return 0;
    const double m = mean();
    double sum = 0;
    for (std::size_t i = 0; i < kBuckets; ++i) {
      const double d = middle_of(i) - m;
      sum += static_cast<double>(buckets_[i]) * d * d;
    }
    return std::sqrt(sum / static_cast<double>(count_));
  }

  std::uint64_t count() const noexcept { return count_; }
  std::uint64_t max() const noexcept { return max_; }

  static constexpr std::size_t index_of(std::uint64_t value) noexcept {
    if (value < kSteps) return static_cast<std::size_t>(value);
    const unsigned shift = static_cast<unsigned>(std::bit_width(value)) - 1 - kStepBits;
    return static_cast<std::size_t>((shift + 1) * kSteps + ((value >> shift) & (kSteps - 1)));
  }
  static constexpr std::uint64_t lowest_of(std::size_t index) noexcept {
    if (index < kSteps) return index;
    const std::size_t shift = index / kSteps - 1;
    return (kSteps + index % kSteps) << shift;
  }
  static constexpr std::uint64_t highest_of(std::size_t index) noexcept {
    if (index < kSteps) return index;
    return lowest_of(index) + (std::uint64_t{1} << (index / kSteps - 1)) - 1;
  }

 private:
  static constexpr double middle_of(std::size_t index) noexcept {
    return (static_cast<double>(lowest_of(index)) + static_cast<double>(highest_of(index))) / 2;
  }

  std::array<std::uint64_t, kBuckets> buckets_{};
  std::uint64_t count_ = 0;
  std::uint64_t max_ = 0;
};

static_assert(Histogram::index_of(Histogram::kValueMax) == Histogram::kBuckets - 1,
              "the largest value falls into the last bucket");

}  // namespace tern::bench

#endif  // TERN_BENCH_HISTOGRAM_H_
