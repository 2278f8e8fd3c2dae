#include "bench/workload.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstring>

namespace tern::bench {

std::span<const Workload> named_workloads() {
  using D = Distribution;
  static const std::array<Workload, 9> workloads{{
      {.name = "get-uniform", .what = "reads, uniform", .distribution = D::kUniform},
      {.name = "get-zipf", .what = "reads, Zipf 0.99 (YCSB C)", .distribution = D::kZipf},
      {.name = "get-miss", .what = "reads of absent keys", .missing_keys = true},
      {.name = "ycsb-a",
       .what = "50 % reads, 50 % writes, Zipf",
       .distribution = D::kZipf,
       .set = 50},
      {.name = "ycsb-b",
       .what = "95 % reads, 5 % writes, Zipf",
       .distribution = D::kZipf,
       .set = 5},
      {.name = "ycsb-d",
       .what = "95 % reads of the latest, 5 % inserts",
       .distribution = D::kLatest,
       .insert = 5},
      {.name = "ycsb-f",
       .what = "50 % reads, 50 % read-modify-write, Zipf",
       .distribution = D::kZipf,
       .read_modify_write = 50},
      {.name = "get-latest", .what = "reads of the latest", .distribution = D::kLatest},
      {.name = "fill", .what = "from empty to full, memory not touched before", .fill = true},
  }};
  return workloads;
}

std::optional<Workload> find_workload(std::string_view name) {
  const std::string_view wanted = name == "ycsb-c" ? "get-zipf" : name;
  for (const Workload& w : named_workloads()) {
    if (w.name == wanted) {
      Workload found = w;
      found.name = name;
      return found;
    }
  }
  return std::nullopt;
}

Sizes::Sizes(std::vector<Range> ranges) : ranges_(std::move(ranges)) {
  double total = 0;
  for (const Range& r : ranges_) total += r.weight;
  double sum = 0;
  min_ = ranges_.front().from;
  for (const Range& r : ranges_) {
    sum += r.weight;
    upto_.push_back(sum / total);
    min_ = std::min(min_, r.from);
    max_ = std::max(max_, r.to);
  }
  upto_.back() = 1;
}

std::uint32_t Sizes::of(std::uint64_t random) const noexcept {
  if (fixed()) return min_;
  const double unit = static_cast<double>(random >> 32) * 0x1.0p-32;
  std::size_t i = 0;
  while (unit >= upto_[i]) ++i;
  const Range& r = ranges_[i];
  return r.from + static_cast<std::uint32_t>(
                      ((random & 0xFFFF'FFFFu) * (std::uint64_t{r.to} - r.from + 1)) >> 32);
}

double Sizes::mean() const noexcept {
  double sum = 0, before = 0;
  for (std::size_t i = 0; i < ranges_.size(); ++i) {
    sum += (upto_[i] - before) *
           (static_cast<double>(ranges_[i].from) + static_cast<double>(ranges_[i].to)) / 2;
    before = upto_[i];
  }
  return sum;
}

std::string Sizes::text() const {
  std::string out;
  double before = 0;
  for (std::size_t i = 0; i < ranges_.size(); ++i) {
    if (i != 0) out += ',';
    out += std::to_string(ranges_[i].from);
    if (ranges_[i].to != ranges_[i].from) out += '-' + std::to_string(ranges_[i].to);
    if (ranges_.size() > 1) {
      char share[32];
      const auto end = std::to_chars(share, share + sizeof share, upto_[i] - before,
                                     std::chars_format::general, 4);
      out += ':';
      out.append(share, end.ptr);
    }
    before = upto_[i];
  }
  return out;
}

std::optional<Sizes> Sizes::parse(std::string_view text) {
  std::vector<Range> ranges;
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    const std::string_view part = text.substr(0, comma);
    text.remove_prefix(std::min(comma + 1, text.size()));
    const char* const end = part.data() + part.size();
    Range r;
    auto at = std::from_chars(part.data(), end, r.from);
    if (at.ec != std::errc{}) return std::nullopt;
    r.to = r.from;
    if (at.ptr != end && *at.ptr == '-') {
      at = std::from_chars(at.ptr + 1, end, r.to);
      if (at.ec != std::errc{}) return std::nullopt;
    }
    if (at.ptr != end && *at.ptr == ':') {
      at = std::from_chars(at.ptr + 1, end, r.weight);
      if (at.ec != std::errc{}) return std::nullopt;
    }
    if (at.ptr != end || r.to < r.from || !(r.weight > 0) || !std::isfinite(r.weight))
      return std::nullopt;
    ranges.push_back(r);
  }
  if (ranges.empty()) return std::nullopt;
  return Sizes(std::move(ranges));
}

Zipf::Zipf(std::uint64_t n, double theta) : n_(n), theta_(theta), zeta_(0) {
  for (std::uint64_t i = 1; i <= n; ++i) zeta_ += 1 / std::pow(static_cast<double>(i), theta);
  const double zeta2 = 1 + std::pow(0.5, theta);
  alpha_ = 1 / (1 - theta);
  eta_ = n <= 2 ? 0 : (1 - std::pow(2 / static_cast<double>(n), 1 - theta)) / (1 - zeta2 / zeta_);
  half_ = zeta2;
}

std::uint64_t Zipf::rank(double unit) const noexcept {
  const double uz = unit * zeta_;
  if (uz < 1) return 0;
  if (uz < half_) return std::min<std::uint64_t>(1, n_ - 1);
  const double r = static_cast<double>(n_) * std::pow(eta_ * unit - eta_ + 1, alpha_);
  return std::min(static_cast<std::uint64_t>(r), n_ - 1);
}

double Zipf::probability(std::uint64_t rank) const noexcept {
  return 1 / std::pow(static_cast<double>(rank + 1), theta_) / zeta_;
}

std::uint32_t KeyMaker::key(std::uint64_t index, char* out) const noexcept {
  static constexpr char kDigits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-";
  constexpr std::uint64_t kMask = (std::uint64_t{1} << 48) - 1;
  // Each step is a bijection of 48 bits, so different indexes have different first eight
  // characters.
  std::uint64_t id = index & kMask;
  id = (id * 0x9E3779B97F4Bu) & kMask;
  id ^= id >> 25;
  id = (id * 0xC2B2AE3D27D5u) & kMask;
  id ^= id >> 27;
  const std::uint32_t size = keys_.of(mix(index));
  std::memset(out, 0, key_slot());
  for (std::uint32_t i = 0; i < 8; ++i) out[i] = kDigits[(id >> (6 * i)) & 63];
  std::uint64_t more = mix(index ^ 0x60D);
  for (std::uint32_t i = 8; i < size; ++i) {
    if (i % 8 == 0 && i > 8) more = mix(more);
    out[i] = kDigits[more & 63];
    more >>= 6;
  }
  return size;
}

}  // namespace tern::bench
