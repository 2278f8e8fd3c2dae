// hash-batch-vs-xxh3: many short keys hashed by hash_keys_batch and, one by one, by XXH3.
#include <tern/hash.h>

#include "bench/peers/hash.h"
#include "bench/results.h"

namespace tern::bench {

Target hash_batch_rate(unsigned repeats) {
  constexpr std::size_t kKeys = 1024;  // keys, views and hashes stay in the first-level cache
  constexpr double kSeconds = 0.02;
  const KeyMaker maker(Sizes(8, 32), Sizes(8, 8));
  std::vector<char> bytes(kKeys * maker.key_slot());
  std::vector<std::string_view> keys(kKeys);
  std::vector<std::uint64_t> hashes(kKeys);
  for (std::size_t i = 0; i < kKeys; ++i) {
    char* const at = bytes.data() + i * maker.key_slot();
    keys[i] = {at, maker.key(i, at)};
  }
  std::uint64_t seed = 1;
  const auto rate = [&](auto&& pass) {
    const double from = thread_cpu_seconds();
    std::uint64_t passes = 0;
    double spent = 0;
    do {
      for (int i = 0; i < 16; ++i) {
        pass(++seed);
        keep(hashes.data());
      }
      passes += 16;
      spent = thread_cpu_seconds() - from;
    } while (spent < kSeconds);
    return static_cast<double>(passes * kKeys) / spent / 1e6;
  };
  std::vector<double> ratios;
  double xxh3_mops = 0;
  for (unsigned r = 0; r < repeats; ++r) {
    const double batch = rate([&](std::uint64_t s) { hash_keys_batch(keys, s, hashes.data()); });
    xxh3_mops = rate([&](std::uint64_t s) {
      for (std::size_t i = 0; i < kKeys; ++i)
        hashes[i] = XXH3_64bits_withSeed(keys[i].data(), keys[i].size(), s);
    });
    ratios.push_back(batch / xxh3_mops);
  }
  Target t;
  t.id = "hash-batch-vs-xxh3";
  t.value = spread(ratios);
  t.against = "XXH3 one by one, " + std::to_string(static_cast<int>(xxh3_mops)) + " M keys/s";
  t.floor = 2;
  t.judged = true;
  return t;
}

}  // namespace tern::bench
