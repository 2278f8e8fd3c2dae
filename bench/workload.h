// Workloads as data: which keys, which operations, which sizes. Everything here is deterministic in
// its seed.
#ifndef TERN_BENCH_WORKLOAD_H_
#define TERN_BENCH_WORKLOAD_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tern::bench {

enum class Distribution : std::uint8_t { kUniform, kZipf, kLatest };

enum class Kind : std::uint8_t { kGet, kSet, kInsert, kReadModifyWrite, kDelete };

// Shares of the operations in per cent; what remains of 100 is get.
struct Workload {
  std::string name;
  std::string what;  // for people
  Distribution distribution = Distribution::kUniform;
  double set = 0;
  double insert =
      0;  // of new keys; the oldest are removed outside of the timed part, so the size stays
  double read_modify_write = 0;
  double del = 0;
  bool missing_keys = false;  // asks for keys that were never set
  bool fill = false;          // from empty to full, in a process of its own
  bool shown = true;          // false: a fill that only loads the stores

  bool may_miss() const { return del > 0; }
};

// get-uniform, get-zipf, get-miss, ycsb-a, ycsb-b, ycsb-d, ycsb-f, fill, get-latest; ycsb-c is
// get-zipf.
std::span<const Workload> named_workloads();
std::optional<Workload> find_workload(std::string_view name);

// A size, or a distribution of sizes: ranges with weights, uniform within a range.
class Sizes {
 public:
  struct Range {
    std::uint32_t from = 0;  // both included
    std::uint32_t to = 0;
    double weight = 1;
  };

  Sizes(std::uint32_t from, std::uint32_t to) : Sizes(std::vector<Range>{{from, to, 1}}) {}
  explicit Sizes(std::vector<Range> ranges);

  // The size that belongs to these 64 random bits.
  std::uint32_t of(std::uint64_t random) const noexcept;
  std::uint32_t min() const noexcept { return min_; }
  std::uint32_t max() const noexcept { return max_; }
  double mean() const noexcept;
  bool fixed() const noexcept { return min_ == max_; }
  std::string text() const;  // as parse() takes it

  // "64", "16-24", "64:0.9,1024-4096:0.1". Empty: malformed.
  static std::optional<Sizes> parse(std::string_view text);

 private:
  std::vector<Range> ranges_;
  std::vector<double> upto_;  // cumulative weights, last is 1
  std::uint32_t min_ = 0;
  std::uint32_t max_ = 0;
};

// 64 well-mixed bits, a bijection (the finalizer of MurmurHash3 after an addition).
constexpr std::uint64_t mix(std::uint64_t x) noexcept {
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 33)) * 0xFF51AFD7ED558CCDu;
  x = (x ^ (x >> 33)) * 0xC4CEB9FE1A85EC53u;
  return x ^ (x >> 33);
}

class Random {
 public:
  explicit Random(std::uint64_t seed) noexcept : state_(mix(seed)) {}
  std::uint64_t next() noexcept { return mix(state_ += 0xD1B54A32D192ED03u); }
  // Uniform below n < 2^32, by multiplication.
  std::uint64_t below(std::uint64_t n) noexcept { return ((next() >> 32) * n) >> 32; }
  double unit() noexcept { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

 private:
  std::uint64_t state_;
};

// Ranks 0 to n-1 with probability proportional to 1 / (rank + 1)^theta: J. Gray et al., "Quickly
// generating billion-record synthetic databases", SIGMOD 1994, as YCSB uses it.
class Zipf {
 public:
  Zipf(std::uint64_t n, double theta);
  std::uint64_t rank(double unit) const noexcept;
  double probability(std::uint64_t rank) const noexcept;

 private:
  std::uint64_t n_;
  double theta_, zeta_, alpha_, eta_, half_;
};

inline constexpr double kZipfTheta = 0.99;

// YCSB scatters the popular ranks over the keys by hashing them.
constexpr std::uint64_t scramble(std::uint64_t rank, std::uint64_t n) noexcept {
  return mix(rank ^ 0x5CA3B1E) % n;
}

// Keys and what is stored under them: both follow from the key's index.
class KeyMaker {
 public:
  static constexpr std::uint32_t kKeyBytesMin = 8;    // 48 bits of identity in base 64
  static constexpr std::uint32_t kValueBytesMin = 8;  // the check of each read
  static constexpr std::uint64_t kMissing = std::uint64_t{1}
                                            << 44;  // indexes from here on are never set
  static constexpr std::uint64_t kIndexMax = (std::uint64_t{1} << 45) - 1;

  KeyMaker(Sizes keys, Sizes values) : keys_(std::move(keys)), values_(std::move(values)) {}

  // Writes the key of `index` and answers its size. `out` has room for key_slot() bytes; the rest
  // is zero.
  std::uint32_t key(std::uint64_t index, char* out) const noexcept;
  std::uint32_t value_bytes(std::uint64_t index) const noexcept {
    return values_.of(mix(index ^ 0x7A1CE));
  }
  // The first eight bytes of the value.
  static std::uint64_t value_head(std::uint64_t index) noexcept { return mix(index ^ 0xBEEFCAFE); }

  const Sizes& keys() const noexcept { return keys_; }
  const Sizes& values() const noexcept { return values_; }
  // A multiple of 8 and at least 24, so that a peer with fixed-size keys finds them padded with
  // zeros.
  std::uint32_t key_slot() const noexcept { return std::max(24u, (keys_.max() + 7) / 8 * 8); }

 private:
  Sizes keys_;
  Sizes values_;
};

}  // namespace tern::bench

#endif  // TERN_BENCH_WORKLOAD_H_
