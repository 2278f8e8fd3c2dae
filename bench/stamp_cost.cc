// What a write pays for views while none is open: sets of a store beside those of the same store without stamps, which
// could open no view. A program of its own, as it reaches what libtern.so hides; `tern bench --suite views` runs it.
//
//   tern-stamp-cost ENTRIES REPEATS      prints a ratio a line: sets a second with stamps / without, by CPU time
//
// Before that, each of the two stores does a hundred thousand random operations as a std::unordered_map does: exit 1 if
// one of them answers otherwise.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "alloc/sync.h"
#include "bench/workload.h"
#include "engine/changes.h"
#include "engine/core.h"
#include "engine/reads.h"
#include "engine/writes.h"

namespace {

using namespace tern::detail;
using tern::bench::Random;

struct UnstampedSync : StdSync {
  static constexpr bool kUnstamped = true;
};

// A store without what lies above the core: the same for both.
template <class Sync>
class Bare {
 public:
  explicit Bare(std::uint64_t entries) : core_(std::make_unique<Core<Sync>>()) {
    CoreOptions o;
    o.memory_bytes = std::max<std::size_t>(entries * 320, std::size_t{64} << 20);
    o.shard_count = 64;
    o.seed = 1;
    o.time = {[](const void*) -> std::uint64_t { return 1; }, nullptr};
    const std::uint64_t buckets = entries / o.shard_count / 4;
    while (o.first_buckets < buckets) o.first_buckets *= 2;
    if (core_->open(o) == tern::alloc::Error::kNone) thread_ = core_->space.register_thread(1);
    if (thread_ == nullptr) {
      std::fprintf(stderr, "tern-stamp-cost: no memory for a store of %llu entries\n", static_cast<unsigned long long>(entries));
      std::exit(1);
    }
  }
  [[gnu::noinline]] bool set(std::string_view key, std::string_view value) {
    return base::put(*core_, *thread_, core_->hash_of(key), key, value).outcome == Committed::Outcome::kPut;
  }
  bool del(std::string_view key) {
    RemoveChange<Sync> change(core_->space, *thread_, key);
    return core_->write(*thread_, core_->hash_of(key), key, change, true).outcome == Committed::Outcome::kRemoved && change.existed;
  }
  // The value's size; more than `size_max`: there is none.
  std::uint64_t get(std::string_view key, char* out, std::uint64_t size_max) {
    return core_->copy(*thread_, core_->hash_of(key), key, out, size_max);
  }

 private:
  std::unique_ptr<Core<Sync>> core_;  // goes with the process
  Thread<Sync>* thread_ = nullptr;
};

char g_key[32];
std::string_view key_of(std::uint64_t i) {
  return {g_key, static_cast<std::size_t>(std::snprintf(g_key, sizeof g_key, "account:%012llu", static_cast<unsigned long long>(i)))};
}

template <class Sync>
bool behaves() {
  Bare<Sync> store(10'000);
  std::unordered_map<std::string, std::string> model;
  Random random(1);
  char out[64];
  for (unsigned i = 0; i != 100'000; ++i) {
    const std::string key(key_of(random.below(1'000)));
    const std::uint64_t what = random.below(8);
    if (what < 3) {
      const std::string value(random.below(sizeof out), static_cast<char>('a' + i % 26));
      if (!store.set(key, value)) return false;
      model[key] = value;
    } else if (what == 3) {
      if (store.del(key) != (model.erase(key) != 0)) return false;
    } else {
      const std::uint64_t size = store.get(key, out, sizeof out);
      const auto at = model.find(key);
      if ((size <= sizeof out) != (at != model.end())) return false;
      if (at != model.end() && std::string_view(out, size) != at->second) return false;
    }
  }
  return true;
}

double cpu_seconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

constexpr std::string_view kValue = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

template <class Store>
double sets(Store& store, std::uint64_t entries, std::uint64_t count, Random& random) {
  const double from = cpu_seconds();
  for (std::uint64_t i = 0; i != count; ++i) {
    if (!store.set(key_of(random.below(entries)), kValue)) std::exit(1);
  }
  return static_cast<double>(count) / (cpu_seconds() - from);
}

template <class Store>
void fill(Store& store, std::uint64_t entries) {
  for (std::uint64_t i = 0; i != entries; ++i) {
    if (!store.set(key_of(i), kValue)) std::exit(1);
  }
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 3) {
    std::fprintf(stderr, "usage: tern-stamp-cost ENTRIES REPEATS\n");
    return 2;
  }
  const std::uint64_t entries = std::strtoull(arguments[1], nullptr, 10);
  const unsigned long repeats = std::strtoul(arguments[2], nullptr, 10);
  if (entries == 0 || repeats == 0) {
    std::fprintf(stderr, "tern-stamp-cost: ENTRIES and REPEATS are numbers above 0\n");
    return 2;
  }
  if (!behaves<StdSync>() || !behaves<UnstampedSync>()) {
    std::fprintf(stderr, "tern-stamp-cost: a store doesn't answer as a map does\n");
    return 1;
  }
  Bare<StdSync> with(entries);
  Bare<UnstampedSync> without(entries);
  fill(with, entries);
  fill(without, entries);
  Random random(1);
  const std::uint64_t calls = entries / 4 + 1;
  sets(with, entries, calls, random);
  sets(without, entries, calls, random);
  // In short turns: the machine's moods hit both alike.
  for (unsigned long r = 0; r != repeats; ++r) {
    double a = 0, b = 0;
    for (unsigned turn = 0; turn != 4; ++turn) {
      a += 1 / sets(with, entries, calls, random);
      b += 1 / sets(without, entries, calls, random);
    }
    std::printf("%.4f\n", b / a);
  }
  return 0;
}
