#include "bench/cachebench.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

namespace tern::bench {
namespace {

using nlohmann::json;

struct Reader {
  std::string error;
  std::set<std::string> used;

  template <class T>
  bool number(const json& object, const char* key, T& out) {
    const auto at = object.find(key);
    if (at == object.end()) return false;
    used.insert(key);
    if (!at->is_number() || at->get<double>() < 0) {
      fail(key, "must be a number that is not negative");
      return false;
    }
    out = at->get<T>();
    return true;
  }

  void fail(const std::string& key, const std::string& what) {
    if (error.empty()) error = "'" + key + "' " + what;
  }

  // Bounds b0 < b1 < ... and the probability of each range [bi, bi+1).
  void sizes(const json& object, const std::string& range_key, std::uint32_t least, Sizes& out) {
    const std::string share_key = range_key + "Probability";
    const auto range = object.find(range_key), shares = object.find(share_key);
    used.insert(range_key);
    used.insert(share_key);
    if (range == object.end() && shares == object.end()) return;
    if (range == object.end() || shares == object.end() || !range->is_array() ||
        !shares->is_array()) {
      return fail(range_key, "and '" + share_key + "' must both be arrays");
    }
    if (range->size() < 2 || shares->size() + 1 != range->size()) {
      return fail(range_key, "must have one element more than '" + share_key + "'");
    }
    std::vector<Sizes::Range> ranges;
    for (std::size_t i = 0; i + 1 < range->size(); ++i) {
      if (!(*range)[i].is_number() || !(*range)[i + 1].is_number() || !(*shares)[i].is_number()) {
        return fail(range_key, "holds something that is no number");
      }
      const double from = (*range)[i].get<double>(), to = (*range)[i + 1].get<double>(),
                   share = (*shares)[i].get<double>();
      if (!(from >= least) || !(to > from) || to > double{1 << 30}) {
        return fail(range_key, "must ascend, from " + std::to_string(least) + " on");
      }
      if (share < 0) return fail(share_key, "holds a negative number");
      if (share == 0) continue;
      ranges.push_back(
          {static_cast<std::uint32_t>(from), static_cast<std::uint32_t>(to) - 1, share});
    }
    if (ranges.empty()) return fail(share_key, "holds no positive number");
    out = Sizes(std::move(ranges));
  }
};

}  // namespace

std::string apply_cachebench(std::string_view text, Plan& plan, std::vector<std::string>& unused) {
  const json doc = json::parse(text, nullptr, false, true);
  if (doc.is_discarded() || !doc.is_object()) return "it is no JSON object";
  const auto test = doc.find("test_config"), cache = doc.find("cache_config");
  if (test == doc.end() || !test->is_object()) return "it has no object 'test_config'";
  Reader r;
  double cache_mib = 0, get = 0, set = 0, del = 0, update = 0, lone_get = 0, lone_set = 0;
  std::uint64_t keys = 0;
  unsigned threads = 0;
  if (cache != doc.end() && cache->is_object()) r.number(*cache, "cacheSizeMB", cache_mib);
  const std::set<std::string> used_of_cache = r.used;
  r.used.clear();
  r.number(*test, "numOps", plan.operations);
  r.number(*test, "numKeys", keys);
  r.number(*test, "numThreads", threads);
  r.number(*test, "getRatio", get);
  r.number(*test, "setRatio", set);
  r.number(*test, "delRatio", del);
  r.number(*test, "updateRatio", update);
  r.number(*test, "loneGetRatio", lone_get);
  r.number(*test, "loneSetRatio", lone_set);
  r.sizes(*test, "keySizeRange", KeyMaker::kKeyBytesMin, plan.keys);
  r.sizes(*test, "valSizeRange", KeyMaker::kValueBytesMin, plan.values);
  if (!r.error.empty()) return r.error;
  if (!(cache_mib >= 0) || cache_mib > 1 << 20) return "'cacheSizeMB' must be from 0 to 1,048,576";
  const double total = get + set + del + update + lone_get + lone_set;
  if (!(total > 0)) return "none of 'getRatio', 'setRatio', 'delRatio' is positive";
  if (keys != 0) plan.entries = {keys};
  if (threads != 0) plan.threads = {threads};
  if (cache_mib > 0) plan.memory_bytes = static_cast<std::uint64_t>(cache_mib * (1 << 20));
  // With a number of operations the clock only bounds a slice that would not end.
  if (plan.operations != 0) plan.seconds = 600;
  // Reads and writes of keys that nobody else touches ("lone") are reads and writes here.
  Workload w;
  w.name = "cachebench";
  w.what = "from a CacheBench file, uniform";
  w.set = 100 * (set + update + lone_set) / total;
  w.del = 100 * del / total;
  plan.workloads = {w};
  for (const auto& [key, value] : doc.items()) {
    if (key != "test_config" && key != "cache_config") unused.push_back(key);
  }
  for (const auto& [key, value] : test->items()) {
    if (!r.used.contains(key)) unused.push_back("test_config." + key);
  }
  if (cache != doc.end() && cache->is_object()) {
    for (const auto& [key, value] : cache->items()) {
      if (!used_of_cache.contains(key)) unused.push_back("cache_config." + key);
    }
  }
  return {};
}

}  // namespace tern::bench
