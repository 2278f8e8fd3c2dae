// An ordered store whose memory runs out: a key that was refused left nothing in the index, one that was taken is listed,
// and what removals give back serves others. Keys of all lengths, among them those whose leaf keeps them in an extent.
#include <tern/store.h>

#include <map>
#include <random>
#include <string>
#include <utility>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

class OrderedMemory : public testing::Test {
 protected:
  OrderedMemory() : store(open_or_fail(options())) {}
  static Options options() {
    Options o = small_options();
    o.memory_bytes = 8 * kMiB;
    o.ordered = true;
    o.eviction = false;
    return o;
  }
  std::string key(std::size_t size) {
    std::string k = std::to_string(random() % 1'000);
    while (k.size() < size) k += static_cast<char>(random() % 4 == 0 ? random() % 256 : 'k');
    return k;
  }
  // False: refused.
  bool put(const std::string& k, std::size_t value_bytes) {
    const std::string value = pattern(value_bytes, static_cast<unsigned>(random()));
    const Result<std::uint64_t> r = store.set(k, value);
    if (r) {
      model[k] = value;
    } else {
      EXPECT_EQ(r.status(), Status::kOutOfMemory);
    }
    return r.ok();
  }
  void remove_some(unsigned of) {
    for (auto it = model.begin(); it != model.end();) {
      if (random() % of != 0) {
        ++it;
        continue;
      }
      EXPECT_TRUE(*store.del(it->first));
      it = model.erase(it);
    }
    // Replaced memory comes back as the epochs go on.
    for (unsigned i = 0; i != 100; ++i) ASSERT_TRUE(store.tick(1ms));
  }
  void expect_listed() {
    for (const bool reverse : {false, true}) {
      auto next = model.begin();
      auto last = model.rbegin();
      std::size_t shown = 0;
      const Result<bool> r = store.scan({.reverse = reverse}, [&](std::string_view k, std::string_view v) {
        const auto& [own_key, own_value] = reverse ? *last : *next;
        if (shown == model.size() || k != own_key || v != own_value) return false;
        ++shown, reverse ? (void)++last : (void)++next;
        return true;
      });
      ASSERT_TRUE(r);
      EXPECT_TRUE(*r && shown == model.size()) << shown << " of " << model.size() << " are right";
    }
    EXPECT_TRUE(whole(store));
  }

  std::minstd_rand random{7};
  Store store;
  std::map<std::string, std::string> model;
};

TEST_F(OrderedMemory, RefusedKeysLeaveNothing) {
  for (unsigned round = 0; round != 4; ++round) {
    unsigned refused = 0;
    for (unsigned n = 0; refused != 200 && n != 200'000; ++n) {
      const std::size_t size = n % 16 == 0 ? 100 + random() % 500 : 1 + random() % 40;
      const std::string k = key(size);
      const bool is_new = !model.contains(k);
      if (put(k, random() % 100)) continue;
      ++refused;
      EXPECT_EQ(*store.exists(k), !is_new);
    }
    EXPECT_EQ(refused, 200u);
    expect_listed();
    remove_some(round % 2 == 0 ? 2 : 1);
    expect_listed();
  }
  EXPECT_TRUE(model.empty());
  EXPECT_EQ(store.stats().index_bytes, 0u);
}

TEST_F(OrderedMemory, KeysInExtents) {
  constexpr std::size_t kLongest = 65'527;
  for (unsigned round = 0; round != 3; ++round) {
    unsigned refused = 0;
    for (unsigned n = 0; refused != 20 && n != 2'000; ++n) {
      refused += !put(key(n % 2 == 0 ? kLongest - random() % 2 : 20'000 + random() % 30'000), random() % 200);
    }
    EXPECT_EQ(refused, 20u);
    EXPECT_GT(model.size(), 10u);
    expect_listed();
    remove_some(round == 2 ? 1 : 2);
    expect_listed();
    for (unsigned n = 0; n != 1'000; ++n) (void)put(key(1 + random() % 30), random() % 60);  // their neighbours
    expect_listed();
    if (round == 2) remove_some(1);
  }
  EXPECT_TRUE(model.empty());
  EXPECT_EQ(store.stats().index_bytes, 0u);
}

}  // namespace
}  // namespace tern::test
