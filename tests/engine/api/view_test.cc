// A view: the store at one moment, whatever is written, removed, evicted, moved or grown meanwhile.
#include <tern/store.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

using Contents = std::map<std::string, std::string>;

View open_view(const Store& store) {
  Result<View> view = store.view();
  EXPECT_TRUE(view) << testing::PrintToString(view.error());
  return std::move(*view);
}

// Everything, each key once; a key that is shown twice is a failure.
Contents walked(const View& view) {
  Contents all;
  const Result<bool> r = view.for_each([&](std::string_view key, std::string_view value) {
    EXPECT_TRUE(all.emplace(key, value).second) << key << " was shown twice";
    return true;
  });
  EXPECT_TRUE(r) << testing::PrintToString(r.error());
  EXPECT_TRUE(*r);
  return all;
}

// By every way of reading, twice.
void expect_shows(const View& view, const Contents& expected, std::initializer_list<const char*> absent = {}) {
  for (int pass = 0; pass != 2; ++pass) {
    for (const auto& [key, value] : expected) {
      ASSERT_EQ(value_of(view, key), value) << key;
      std::vector<char> out(value.size() + 1);
      const auto size = view.get(key, std::span<char>(out));
      ASSERT_TRUE(size);
      ASSERT_EQ(std::string_view(out.data(), *size), value);
      ASSERT_TRUE(*view.exists(key));
    }
    for (const char* key : absent) {
      ASSERT_EQ(value_of(view, key), std::nullopt) << key;
      ASSERT_FALSE(*view.exists(key)) << key;
    }
    ASSERT_EQ(walked(view), expected);
    ASSERT_EQ(*view.size(), expected.size());
  }
}

using ViewTest = StoreTest;

TEST_F(ViewTest, ShowsTheStoreAsItWas) {
  ASSERT_TRUE(store.set("stays", "1"));
  ASSERT_TRUE(store.set("changes", "old"));
  ASSERT_TRUE(store.set("goes", "2"));
  ASSERT_TRUE(store.set("comes back", "first"));
  View view = open_view(store);
  ASSERT_TRUE(store.set("changes", "new"));
  ASSERT_TRUE(*store.del("goes"));
  ASSERT_TRUE(*store.del("comes back"));
  ASSERT_TRUE(store.set("comes back", "second"));
  ASSERT_TRUE(store.set("new", "3"));
  expect_shows(view, {{"stays", "1"}, {"changes", "old"}, {"goes", "2"}, {"comes back", "first"}}, {"new", "never"});
  EXPECT_EQ(value_of(store, "changes"), "new");
  EXPECT_EQ(value_of(store, "goes"), std::nullopt);
}

TEST_F(ViewTest, OfAnEmptyStoreIsEmpty) {
  View view = open_view(store);
  ASSERT_TRUE(store.set("k", "v"));
  expect_shows(view, {}, {"k"});
}

TEST_F(ViewTest, ManyOnesEachKeepTheirOwnMoment) {
  std::vector<View> views;
  for (int i = 0; i != 10; ++i) {
    ASSERT_TRUE(store.set("k", numbered("", i)));
    if (i % 3 == 2) {
      ASSERT_TRUE(*store.del("k"));
    }
    views.push_back(open_view(store));
  }
  ASSERT_TRUE(store.set("k", "last"));
  for (int i = 0; i != 10; ++i) {
    const auto& view = views[static_cast<std::size_t>(i)];
    if (i % 3 == 2) {
      expect_shows(view, {}, {"k"});
    } else {
      expect_shows(view, {{"k", numbered("", i)}});
    }
    if (i != 0) {
      EXPECT_GT(view.stamp(), views[static_cast<std::size_t>(i) - 1].stamp());
    }
  }
  // Those in the middle go first.
  views.erase(views.begin() + 3, views.begin() + 7);
  expect_shows(views[3], {{"k", "7"}});
  views.clear();
  EXPECT_EQ(store.inspect("k")->older_versions, 0u);
  EXPECT_EQ(store.stats().kept_versions, 0u);
}

TEST_F(ViewTest, AHotKeyKeepsOneOldVersion) {
  ASSERT_TRUE(store.set("k", "old"));
  View view = open_view(store);
  const std::uint64_t before = store.stats().memory_used_bytes;
  for (int i = 0; i != 100'000; ++i) ASSERT_TRUE(store.set("k", numbered("", i)));
  EXPECT_EQ(store.inspect("k")->older_versions, 1u);
  EXPECT_EQ(store.stats().kept_versions, 1u);
  EXPECT_LE(store.stats().memory_used_bytes, before + (1 << 20));
  expect_shows(view, {{"k", "old"}});
}

TEST_F(ViewTest, GivesBackWhatItKeptWhenItCloses) {
  Contents expected;
  for (int i = 0; i != 3'000; ++i) {
    ASSERT_TRUE(store.set(numbered("k", i), numbered("old ", i)));
    expected[numbered("k", i)] = numbered("old ", i);
  }
  View view = open_view(store);
  for (int i = 0; i != 3'000; ++i) {
    if (i % 3 == 0) {
      ASSERT_TRUE(*store.del(numbered("k", i)));
    } else {
      ASSERT_TRUE(store.set(numbered("k", i), "new"));
    }
  }
  EXPECT_EQ(store.stats().kept_versions, 3'000u);
  EXPECT_GT(store.stats().kept_bytes, 3'000u * 24);
  ASSERT_TRUE(whole(store));
  expect_shows(view, expected);
  view.close();
  EXPECT_EQ(value_of(store, "k1"), "new");
  // A part at once, the rest with maintenance.
  EXPECT_LT(store.stats().kept_versions, 3'000u);
  for (int i = 0; i != 1'000 && store.stats().kept_versions != 0; ++i) ASSERT_TRUE(store.tick(1ms));
  EXPECT_EQ(store.stats().kept_versions, 0u);
  EXPECT_EQ(store.stats().kept_bytes, 0u);
  EXPECT_EQ(store.tick(0us)->shards_with_kept_keys, 0u);
  EXPECT_EQ(store.inspect("k1")->older_versions, 0u);
}

TEST_F(ViewTest, WithoutTickTheWritesGiveBackWhatEndedViewsKept) {
  for (int i = 0; i != 2'000; ++i) ASSERT_TRUE(store.set(numbered("k", i), "0"));
  std::uint64_t most = 0;
  for (int round = 0; round != 20; ++round) {
    View view = open_view(store);
    for (int i = 0; i != 2'000; ++i) ASSERT_TRUE(store.set(numbered("k", i), numbered("", round)));
    most = std::max(most, store.stats().kept_versions);
  }
  EXPECT_LE(most, 2u * 2'000u) << "what a view kept must not outlive many that come after it";
}

TEST_F(ViewTest, AnOldViewDoesNotHideWhatYoungerOnesLeave) {
  for (int i = 0; i != 1'000; ++i) ASSERT_TRUE(store.set(numbered("k", i), "0"));
  View old = open_view(store);
  for (int i = 0; i != 1'000; ++i) ASSERT_TRUE(store.set(numbered("k", i), "1"));
  {
    View young = open_view(store);
    for (int i = 0; i != 1'000; ++i) ASSERT_TRUE(store.set(numbered("k", i), "2"));
    EXPECT_EQ(store.stats().kept_versions, 2'000u);
  }
  for (int i = 0; i != 1'000 && store.stats().kept_versions > 1'000; ++i) ASSERT_TRUE(store.tick(1ms));
  EXPECT_EQ(store.stats().kept_versions, 1'000u);
  // What is still needed isn't looked at again and again.
  std::uint64_t owed = 1;
  for (int i = 0; i != 1'000 && owed != 0; ++i) owed = store.tick(1ms)->shards_with_kept_keys;
  EXPECT_EQ(owed, 0u);
  EXPECT_EQ(value_of(old, "k7"), "0");
}

TEST_F(ViewTest, HoldsAcrossTenDoublingsOfTheTable) {
  Contents expected;
  for (int i = 0; i != 100; ++i) {
    ASSERT_TRUE(store.set(numbered("k", i), numbered("v", i)));
    expected[numbered("k", i)] = numbered("v", i);
  }
  const std::uint64_t buckets = store.stats().buckets;
  View view = open_view(store);
  for (int i = 0; i != 120'000; ++i) {
    ASSERT_TRUE(store.set(numbered("new", i), "x"));
    if (i % 20'000 == 0) {
      ASSERT_EQ(walked(view), expected);
    }
    if (i < 100) {
      ASSERT_TRUE(store.set(numbered("k", i), "changed"));
    }
  }
  EXPECT_GE(store.stats().buckets, buckets * 100);
  expect_shows(view, expected);
}

// The table grows by a factor of a hundred between two keys that a walk shows.
TEST_F(ViewTest, AWalkUnderGrowthShowsEachKeyOnce) {
  Contents expected;
  for (int i = 0; i != 2'000; ++i) {
    ASSERT_TRUE(store.set(numbered("k", i), numbered("v", i)));
    expected[numbered("k", i)] = numbered("v", i);
  }
  View view = open_view(store);
  Contents seen;
  int n = 0;
  const Result<bool> r = view.for_each([&](std::string_view key, std::string_view value) {
    EXPECT_TRUE(seen.emplace(key, value).second) << key << " was shown twice";
    for (int i = 0; i != 40; ++i) EXPECT_TRUE(store.set(numbered("new", n * 40 + i), "x"));
    EXPECT_TRUE(store.set(numbered("k", (n * 7) % 2'000), "changed"));
    if (n % 3 == 0) {
      EXPECT_TRUE(store.del(numbered("k", (n * 11) % 2'000)));
    }
    ++n;
    return true;
  });
  ASSERT_TRUE(r);
  EXPECT_EQ(seen, expected);
}

TEST_F(ViewTest, AWalkEndsWhenToldTo) {
  for (int i = 0; i != 100; ++i) ASSERT_TRUE(store.set(numbered("k", i), "v"));
  View view = open_view(store);
  int n = 0;
  const Result<bool> r = view.for_each([&](const ViewEntry& e) {
    EXPECT_EQ(e.value, "v");
    EXPECT_GE(e.version, 1u);
    EXPECT_FALSE(e.ttl);
    return ++n != 10;
  });
  ASSERT_TRUE(r);
  EXPECT_FALSE(*r);
  EXPECT_EQ(n, 10);
}

TEST_F(ViewTest, ShowsLongKeysAndLargeValues) {
  Contents expected;
  for (const std::size_t size : {1u, 254u, 255u, 9'000u, 65'527u}) {
    std::string key(size, 'a');
    key[0] = 'k';
    expected[key] = pattern(size * 3, static_cast<unsigned>(size));
    ASSERT_TRUE(store.set(key, expected[key]));
  }
  View view = open_view(store);
  for (const auto& [key, value] : expected) ASSERT_TRUE(*store.del(key));
  expect_shows(view, expected);
  ASSERT_TRUE(store.set(std::string(255, 'z'), "after"));
  for (const auto& [key, value] : expected) ASSERT_TRUE(store.set(key, "again"));
  expect_shows(view, expected);
}

TEST_F(ViewTest, ReadsManyKeys) {
  std::vector<std::string> names;
  for (int i = 0; i != 300; ++i) {
    names.push_back(numbered("k", i));
    if (i % 2 == 0) {
      ASSERT_TRUE(store.set(names.back(), numbered("v", i)));
    }
  }
  View view = open_view(store);
  for (const auto& name : names) ASSERT_TRUE(store.set(name, "new"));
  std::vector<std::string_view> keys(names.begin(), names.end());
  keys.push_back("");
  Values values;
  ASSERT_TRUE(view.get_many(keys, values));
  ASSERT_EQ(values.size(), 301u);
  for (std::size_t i = 0; i != 300; ++i) {
    if (i % 2 == 0) {
      ASSERT_TRUE(values[i]);
      EXPECT_EQ(*values[i], numbered("v", i));
    } else {
      EXPECT_TRUE(values[i].missing());
    }
  }
  EXPECT_EQ(values[300].status(), Status::kInvalidKey);
  EXPECT_EQ(view.get("").status(), Status::kInvalidKey);
  EXPECT_EQ(view.exists(std::string(65'528, 'x')).status(), Status::kTooLarge);
}

TEST_F(ViewTest, AnswersAsTheStoreDoes) {
  const std::uint64_t version = *store.set("k", "value", {.ttl = 1s, .metadata = "m"});
  View view = open_view(store);
  ASSERT_TRUE(store.set("k", "longer than before", {.metadata = "n"}));
  char out[3] = {'-', '-', '-'};
  EXPECT_EQ(*view.get("k", std::span<char>(out)), 5u) << "the whole size";
  EXPECT_EQ(std::string_view(out, 3), "---") << "and nothing in part";
  EXPECT_EQ(view.get_entry("k")->version, version);
  EXPECT_EQ(view.get_entry("k")->ttl, 1s);
  EXPECT_EQ(view.get_metadata("k")->view(), "m");
  EXPECT_TRUE(view.get_metadata("missing").missing());
  const std::vector<std::string_view> keys(65'537, "k");
  Values values;
  EXPECT_EQ(view.get_many(keys, values).status(), Status::kTooLarge);
  ASSERT_TRUE(view.get_many(std::span(keys).first(65'536), values));
  EXPECT_EQ(*values[65'535], "value");
  // Another in its place: the former is closed.
  View later = open_view(store);
  EXPECT_GT(later.stamp(), view.stamp());
  view = std::move(later);
  EXPECT_EQ(value_of(view, "k"), "longer than before");
  EXPECT_EQ(store.stats().views, 1u);
}

// --- time ------------------------------------------------------------------------------------------------------------

TEST_F(ViewTest, JudgesDeadlinesByTheTimeWhenItWasOpened) {
  ASSERT_TRUE(store.set("short", "1", {.ttl = 10ms}));
  ASSERT_TRUE(store.set("past", "2", {.ttl = 5ms}));
  clock.advance(5ms);
  View view = open_view(store);
  clock.advance(100ms);
  ASSERT_TRUE(store.tick(1ms));
  ASSERT_EQ(*store.cleanup_expired(), 0u);
  EXPECT_EQ(value_of(store, "short"), std::nullopt);
  expect_shows(view, {{"short", "1"}}, {"past"});
  EXPECT_EQ(view.get_entry("short")->ttl, 5ms);
}

TEST_F(ViewTest, DeadlinesThatMoveLaterDoNotChangeIt) {
  ASSERT_TRUE(store.set("longer", "1", {.ttl = 10ms}));
  ASSERT_TRUE(store.set("shorter", "2", {.ttl = 1h}));
  ASSERT_TRUE(store.set("mortal", "3"));
  ASSERT_TRUE(store.set("immortal", "4", {.ttl = 20ms}));
  ASSERT_TRUE(store.set("idle", "5", {.idle = 10ms}));
  View view = open_view(store);
  ASSERT_TRUE(*store.expire("longer", 1h));
  ASSERT_TRUE(*store.expire("shorter", 1ms));
  ASSERT_TRUE(*store.expire("mortal", 1ms));
  ASSERT_TRUE(*store.persist("immortal"));
  clock.advance(9ms);
  EXPECT_EQ(value_of(store, "idle"), "5");
  const Contents expected{{"longer", "1"}, {"shorter", "2"}, {"mortal", "3"}, {"immortal", "4"}, {"idle", "5"}};
  expect_shows(view, expected);
  EXPECT_EQ(view.get_entry("longer")->ttl, 10ms);
  EXPECT_EQ(view.get_entry("shorter")->ttl, 1h);
  EXPECT_EQ(view.get_entry("mortal")->ttl, std::nullopt);
  EXPECT_EQ(view.get_entry("immortal")->ttl, 20ms);
  clock.advance(1h);
  ASSERT_TRUE(store.cleanup_expired());
  expect_shows(view, expected);
  EXPECT_EQ(value_of(store, "longer"), std::nullopt);
  EXPECT_EQ(value_of(store, "immortal"), "4");
}

TEST_F(ViewTest, ARememberedAbsenceIsAMiss) {
  const auto none = [](std::string_view) { return Loaded{}; };
  EXPECT_TRUE(store.get_or_load("k", none, {.negative_ttl = 1s}).missing());
  View view = open_view(store);
  expect_shows(view, {}, {"k"});
}

// --- the end ---------------------------------------------------------------------------------------------------------

TEST_F(ViewTest, ThereIsABoundAndItIsNamed) {
  std::vector<View> views;
  for (unsigned i = 0; i != kViewsMax; ++i) views.push_back(open_view(store));
  const Result<View> more = store.view();
  EXPECT_EQ(more.error(), (Error{Status::kTooLarge, Field::kViews}));
  // The store's own have places of their own.
  ASSERT_TRUE(store.set("there", "v"));
  const std::string_view keys[] = {"there", "missing"};
  Values values;
  EXPECT_TRUE(store.get_many_at_one_moment(keys, values));
  EXPECT_EQ(*values[0], "v");
  EXPECT_EQ(store.stats().views, kViewsMax);
  views.erase(views.begin() + 17);
  views.push_back(open_view(store));
  expect_shows(views.back(), {{"there", "v"}});
}

TEST_F(ViewTest, ClosedMovedFromAndDefaultMadeOnesSaySo) {
  View none;
  ASSERT_TRUE(store.set("k", "v"));
  View first = open_view(store);
  View second = std::move(first);
  EXPECT_EQ(value_of(second, "k"), "v");
  for (const View* view : {&none, &first}) {
    EXPECT_FALSE(view->is_open());
    EXPECT_EQ(view->get("k").status(), Status::kClosed);
    EXPECT_EQ(view->exists("k").status(), Status::kClosed);
    EXPECT_EQ(view->size().status(), Status::kClosed);
    EXPECT_EQ(view->for_each([](const ViewEntry&) { return true; }).status(), Status::kClosed);
  }
  second.close();
  second.close();
  EXPECT_EQ(second.get("k").status(), Status::kClosed);
  EXPECT_EQ(store.stats().views, 0u);
}

TEST_F(ViewTest, OutlivesTheStoresHandles) {
  ASSERT_TRUE(store.set("k", "v"));
  View view = open_view(store);
  store = Store();
  expect_shows(view, {{"k", "v"}});
}

TEST_F(ViewTest, AfterCloseAnswersClosed) {
  ASSERT_TRUE(store.set("k", "v"));
  View view = open_view(store);
  ASSERT_TRUE(store.set("k", "w"));
  store.close();
  EXPECT_FALSE(view.is_open());
  EXPECT_EQ(view.get("k").status(), Status::kClosed);
  EXPECT_EQ(view.get_entry("k").status(), Status::kClosed);
  EXPECT_EQ(view.for_each([](const ViewEntry&) { return true; }).status(), Status::kClosed);
  store = Store();
  view.close();
}

TEST_F(ViewTest, HoldersNameIt) {
  ASSERT_TRUE(store.set("k", "v"));
  View first = open_view(store);
  clock.advance(250ms);
  ASSERT_TRUE(store.set("k", "w"));
  View second = open_view(store);
  std::map<std::uint64_t, Holder> views;
  store.holders([&](const Holder& h) {
    if (h.kind == Holder::Kind::kView) views[h.id] = h;
  });
  ASSERT_EQ(views.size(), 2u);
  EXPECT_EQ(views[first.stamp()].age, 250ms);
  EXPECT_GE(views[first.stamp()].bytes, 26u);
  EXPECT_EQ(views[first.stamp()].bytes, store.stats().kept_bytes);
  EXPECT_EQ(views[second.stamp()].age, 0ms);
  EXPECT_EQ(views[second.stamp()].bytes, 0u);
}

TEST(ViewMemoryTest, PastItsShareTheOldestIsEnded) {
  Options options = small_options();
  options.view_bytes_max = kMiB;
  std::string logged;
  options.log = [](void* user, const char* message) { *static_cast<std::string*>(user) = message; };
  options.log_user = &logged;
  options.huge_pages = false;
  const Store store = open_or_fail(options);
  for (int i = 0; i != 20'000; ++i) ASSERT_TRUE(store.set(numbered("k", i), pattern(100)));
  View old = open_view(store);
  ASSERT_TRUE(store.set("k0", "between"));
  View young = open_view(store);
  int written = 1;
  for (; written != 20'000 && old.is_open(); ++written) {
    ASSERT_TRUE(store.set(numbered("k", written), "new"));
    ASSERT_LE(store.stats().kept_bytes, kMiB + 4096);
  }
  ASSERT_LT(written, 20'000);
  EXPECT_EQ(old.get("k0").status(), Status::kViewExpired);
  EXPECT_EQ(old.get("missing").status(), Status::kViewExpired);
  EXPECT_EQ(old.exists("k19999").status(), Status::kViewExpired);
  EXPECT_EQ(old.size().status(), Status::kViewExpired);
  EXPECT_EQ(old.get_entry("k0").status(), Status::kViewExpired);
  EXPECT_EQ(old.get_metadata("k0").status(), Status::kViewExpired);
  EXPECT_EQ(old.for_each([](const ViewEntry&) { return true; }).status(), Status::kViewExpired);
  const std::string_view keys[] = {"k0"};
  Values values;
  EXPECT_EQ(old.get_many(keys, values).status(), Status::kViewExpired);
  char out[8];
  EXPECT_EQ(old.get("k0", std::span<char>(out)).status(), Status::kViewExpired);
  EXPECT_EQ(store.stats().views_ended, 1u);
  EXPECT_NE(logged.find("view"), std::string::npos);
  // The younger one needs nearly the same, and is as good as new until the share is used up again.
  EXPECT_TRUE(young.is_open());
  EXPECT_EQ(value_of(young, "k0"), "between");
  EXPECT_EQ(value_of(young, "k1"), pattern(100));
  ASSERT_TRUE(whole(store));
}

// A full store, with what views keep in the way of its writes: it stays alive and says so.
class FullStoreWithViews : public testing::TestWithParam<bool> {};

TEST_P(FullStoreWithViews, StaysAlive) {
  Options options = small_options();
  options.eviction = GetParam();
  options.view_bytes_max = options.memory_bytes;  // only memory itself is in the way
  const Store store = open_or_fail(options);
  const std::string value = pattern(200);
  int count = 0;
  if (GetParam()) {
    for (; count != 150'000; ++count) ASSERT_TRUE(store.set(numbered("k", count), value));
  } else {
    while (store.set(numbered("k", count), value)) ++count;
    for (int i = 0; i != count / 8; ++i) ASSERT_TRUE(*store.del(numbered("k", i)));
  }
  std::uint64_t ended = 0;
  std::mt19937 random(7);
  for (int round = 0; round != 12; ++round) {
    View view = open_view(store);
    Contents sample;
    const Result<bool> r = view.for_each([&](std::string_view k, std::string_view v) {
      if (random() % 64 == 0) sample.emplace(k, v);
      return true;
    });
    ASSERT_TRUE(r);
    const std::uint64_t before = store.stats().refused;
    for (int i = 0; i != 40'000; ++i) {
      const int n = GetParam() ? count + round * 40'000 + i : count / 8 + static_cast<int>(random() % static_cast<unsigned>(count - count / 8));
      const Result<std::uint64_t> set = store.set(numbered("k", n), pattern(200, static_cast<unsigned>(i)));
      ASSERT_TRUE(set) << status_name(set.status()) << " in round " << round << " after " << i;
      if (i % 4'000 == 0) {
        ASSERT_TRUE(store.tick(100us));
      }
    }
    EXPECT_EQ(store.stats().refused, before);
    // Either all of it or none.
    const bool open = view.is_open();
    for (const auto& [key, was] : sample) {
      const Lookup<Value> now = view.get(key);
      if (now.status() == Status::kViewExpired) break;
      ASSERT_TRUE(now) << key << ": " << status_name(now.status());
      ASSERT_EQ(now->view(), was);
    }
    if (!open) {
      EXPECT_EQ(view.get("k1").status(), Status::kViewExpired);
      ++ended;
    }
  }
  EXPECT_GT(ended, 0u) << "the store was never full enough";
  EXPECT_EQ(store.stats().views_ended, ended);
  for (int i = 0; i != 10'000 && store.stats().kept_versions != 0; ++i) ASSERT_TRUE(store.tick(1ms));
  EXPECT_EQ(store.stats().kept_versions, 0u);
  EXPECT_EQ(store.stats().kept_bytes, 0u);
  ASSERT_TRUE(whole(store));
}
INSTANTIATE_TEST_SUITE_P(WithAndWithoutEviction, FullStoreWithViews, testing::Bool(),
                         [](const auto& i) { return i.param ? "Evicting" : "Refusing"; });

TEST(ViewMemoryTest, KeysThatAreEvictedStayInIt) {
  Options options = small_options();
  options.entries_max = 1'000;
  const Store store = open_or_fail(options);
  for (int i = 0; i != 1'000; ++i) ASSERT_TRUE(store.set(numbered("k", i), numbered("v", i)));
  View view = open_view(store);
  const Contents expected = walked(view);
  EXPECT_GT(expected.size(), 900u);
  for (int i = 0; i != 10'000; ++i) ASSERT_TRUE(store.set(numbered("new", i), "x"));
  EXPECT_GT(store.stats().evicted, 9'000u);
  expect_shows(view, expected);
  ASSERT_TRUE(whole(store));
}

TEST(ViewMemoryTest, RecordsThatMoveStayInIt) {
  Options options = small_options();
  options.eviction = false;
  const Store store = open_or_fail(options);
  int count = 0;
  while (store.set(numbered("k", count), pattern(40, 1))) ++count;
  // One in sixteen stays; what a view needs of the others stays too, so the view comes after.
  Contents expected;
  for (int i = 0; i != count; ++i) {
    if (i % 16 != 0) {
      ASSERT_TRUE(*store.del(numbered("k", i)));
    } else {
      expected[numbered("k", i)] = pattern(40, 1);
    }
  }
  View view = open_view(store);
  for (int i = 0; i != 100; ++i) ASSERT_TRUE(store.set(numbered("large", i), pattern(60'000))) << i;
  EXPECT_GT(store.stats().moves, 0u);
  ASSERT_TRUE(view.is_open());
  ASSERT_EQ(walked(view), expected);
  ASSERT_TRUE(whole(store));
}

TEST(ViewMemoryTest, OptionIsChecked) {
  Options options = small_options();
  options.view_bytes_max = std::size_t{16} << 40;
  EXPECT_EQ(Store::open(options).error(), (Error{Status::kOutOfRange, Field::kViewBytesMax}));
}

}  // namespace
}  // namespace tern::test
