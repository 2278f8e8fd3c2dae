// hash-batch-vs-xxh3: many short keys hashed by hash_keys_batch and, one by one, by XXH3.
#include <tern/hash.h>

#include "bench/peers/hash.h"
#include "bench/results.h"

namespace tern::bench {

namespace {

// `count` keys that come again and again: after some passes the processor foresees the lengths of a thousand, which is what XXH3's
// branches live on, and not those of 65,536, nor of a cache's.
Target rate_of(const char* id, std::size_t count, unsigned repeats) {
  constexpr double kSeconds = 0.02;
  const KeyMaker maker(Sizes(8, 32), Sizes(8, 8));
  std::vector<char> bytes(count * maker.key_slot());
  std::vector<std::string_view> keys(count);
  std::vector<std::uint64_t> hashes(count);
  const unsigned passes_at_once = static_cast<unsigned>(16'384 / count) + 1;
  for (std::size_t i = 0; i < count; ++i) {
    char* const at = bytes.data() + i * maker.key_slot();
    keys[i] = {at, maker.key(i, at)};
  }
  std::uint64_t seed = 1;
  const auto rate = [&](auto&& pass) {
    const double from = thread_cpu_seconds();
    std::uint64_t passes = 0;
    double spent = 0;
    do {
      for (unsigned i = 0; i < passes_at_once; ++i) {
        pass(++seed);
        keep(hashes.data());
      }
      passes += passes_at_once;
      spent = thread_cpu_seconds() - from;
    } while (spent < kSeconds);
    return static_cast<double>(passes * count) / spent / 1e6;
  };
  std::vector<double> ratios;
  double xxh3_mops = 0;
  for (unsigned r = 0; r < repeats; ++r) {
    const double batch = rate([&](std::uint64_t s) { hash_keys_batch(keys, s, hashes.data()); });
    xxh3_mops = rate([&](std::uint64_t s) {
      for (std::size_t i = 0; i < count; ++i)
        hashes[i] = XXH3_64bits_withSeed(keys[i].data(), keys[i].size(), s);
    });
    ratios.push_back(batch / xxh3_mops);
  }
  Target t;
  t.id = id;
  t.value = spread(ratios);
  t.against = "XXH3 one by one, " + std::to_string(static_cast<int>(xxh3_mops)) + " M keys/s";
  return t;
}

}  // namespace

std::vector<Target> hash_batch_rates(unsigned repeats) {
  Target learned = rate_of("hash-batch-vs-xxh3", 1024, repeats);
  learned.floor = 2;
  learned.judged = true;
  return {learned, rate_of("hash-batch-vs-xxh3-65536", 65'536, repeats)};
}

}  // namespace tern::bench
