#include "bench/synthetic.h"

#include <algorithm>
#include <charconv>
#include <unordered_set>

#include "bench/workload.h"

namespace tern::bench {
namespace {

constexpr std::uint64_t kObjectsMax = 1u << 28, kRequestsMax = std::uint64_t{1} << 32;

enum class Shape { kUniform, kZipf, kLoop, kScan, kShift };

struct Spec {
  Shape shape = Shape::kZipf;
  std::uint64_t objects = 10'000, requests = 1'000'000, period = 50'000, seed = 1;
  double theta = 0.9;
  Sizes sizes{1, 1};
};

template <class T>
bool number(std::string_view text, T least, T most, T& out) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !(value >= least) ||
      !(value <= most))
    return false;
  out = value;
  return true;
}

bool set_parameter(Spec& spec, std::string_view name, std::string_view value) {
  constexpr std::uint64_t kOne = 1;
  if (name == "objects") return number(value, kOne, kObjectsMax, spec.objects);
  if (name == "requests") return number(value, kOne, kRequestsMax, spec.requests);
  if (name == "period") return number(value, kOne, kRequestsMax, spec.period);
  if (name == "seed") return number(value, std::uint64_t{0}, ~std::uint64_t{0}, spec.seed);
  if (name == "theta") return number(value, 0.01, 0.999, spec.theta);
  if (name != "sizes") return false;
  std::string ranges(value);
  std::replace(ranges.begin(), ranges.end(), '+', ',');
  const auto sizes = Sizes::parse(ranges);
  if (sizes) spec.sizes = *sizes;
  return sizes.has_value();
}

// Empty, or what is wrong.
std::string parse(std::string_view text, Spec& spec) {
  const std::size_t colon = text.find(':');
  const std::string_view name = text.substr(0, colon);
  if (name == "uniform") {
    spec.shape = Shape::kUniform;
  } else if (name == "loop") {
    spec.shape = Shape::kLoop;
  } else if (name == "scan") {
    spec.shape = Shape::kScan;
  } else if (name == "shift") {
    spec.shape = Shape::kShift;
  } else if (name == "sized") {
    spec.sizes = Sizes({{64, 256, 0.9}, {4'096, 65'536, 0.1}});
  } else if (name != "zipf") {
    return "there is no synthetic trace '" + std::string(name) +
           "'; there are uniform, zipf, loop, scan, shift and sized";
  }
  std::string_view rest = colon == std::string_view::npos ? "" : text.substr(colon + 1);
  while (!rest.empty()) {
    const std::string_view parameter = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), parameter.size() + 1));
    const std::size_t equals = parameter.find('=');
    if (equals == std::string_view::npos ||
        !set_parameter(spec, parameter.substr(0, equals), parameter.substr(equals + 1)))
      return "'" + std::string(parameter) + "' is no parameter, or out of its range";
  }
  return "";
}

}  // namespace

Trace synthetic_trace(std::string_view text) {
  Trace trace;
  Spec spec;
  trace.error = parse(text, spec);
  if (!trace.error.empty()) return trace;
  Random random(spec.seed);
  const Zipf zipf(spec.objects, spec.theta);
  const std::uint64_t scan = std::max<std::uint64_t>(1, spec.period / 10);
  std::uint64_t fresh = spec.objects;  // keys that are asked for once
  trace.requests.reserve(spec.requests);
  for (std::uint64_t i = 0; i < spec.requests; ++i) {
    std::uint64_t key = 0;
    if (spec.shape == Shape::kUniform) {
      key = random.below(spec.objects);
    } else if (spec.shape == Shape::kLoop) {
      key = i % spec.objects;
    } else if (spec.shape == Shape::kScan && i % (spec.period + scan) >= spec.period) {
      key = fresh++;
    } else {
      key = zipf.rank(random.unit());
      if (spec.shape == Shape::kShift)
        key =
            (key + i / spec.period * std::max<std::uint64_t>(1, spec.objects / 10)) % spec.objects;
    }
    trace.requests.push_back({mix(key ^ spec.seed << 32), spec.sizes.of(mix(key + spec.seed))});
  }
  std::unordered_set<std::uint64_t> keys;
  for (const Request& r : trace.requests) keys.insert(r.key);
  trace.objects = keys.size();
  return trace;
}

}  // namespace tern::bench
