// The list of policies, and traces with dense keys.
#include "bench/policies/policy.h"

#include <algorithm>
#include <unordered_map>

namespace tern::bench {
namespace {

struct Entry {
  const char* name;
  std::unique_ptr<Policy> (*make)(const DenseTrace&, std::uint64_t);
};

constexpr Entry kPolicies[] = {
    {"lru", make_lru},         {"sieve", make_sieve},         {"s3-fifo", make_s3_fifo},
    {"arc", make_arc},         {"w-tinylfu", make_w_tinylfu}, {"tern", make_tern},
    {"optimum", make_optimum},
};

}  // namespace

std::uint64_t DenseTrace::bytes() const {
  std::uint64_t sum = 0;
  for (const std::uint32_t size : sizes) sum += size;
  return sum;
}

DenseTrace dense(const Trace& trace, bool unit_sizes) {
  DenseTrace out;
  out.keys.reserve(trace.requests.size());
  std::unordered_map<std::uint64_t, Key> numbers;
  numbers.reserve(trace.objects);
  for (const Request& r : trace.requests) {
    const auto [at, fresh] = numbers.try_emplace(r.key, static_cast<Key>(out.sizes.size()));
    if (fresh) out.sizes.push_back(unit_sizes ? 1 : std::max<std::uint32_t>(r.size, 1));
    out.keys.push_back(at->second);
  }
  return out;
}

std::unique_ptr<Policy> make_policy(std::string_view name, const DenseTrace& trace,
                                    std::uint64_t capacity) {
  for (const Entry& e : kPolicies) {
    if (name == e.name) return e.make(trace, capacity);
  }
  return nullptr;
}

const std::vector<std::string>& policy_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const Entry& e : kPolicies) all.emplace_back(e.name);
    return all;
  }();
  return names;
}

double hit_ratio(std::string_view name, const DenseTrace& trace, std::uint64_t capacity) {
  const std::unique_ptr<Policy> policy = make_policy(name, trace, capacity);
  if (policy == nullptr || trace.keys.empty()) return 0;
  std::uint64_t hits = 0;
  for (const Key key : trace.keys) hits += policy->access(key);
  return static_cast<double>(hits) / static_cast<double>(trace.keys.size());
}

}  // namespace tern::bench
