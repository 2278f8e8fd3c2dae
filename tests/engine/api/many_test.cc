// Calls with many keys.
#include <tern/store.h>

#include <cstring>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

std::vector<std::string> names(std::string_view prefix, std::size_t count) {
  std::vector<std::string> all;
  all.reserve(count);
  for (std::size_t i = 0; i < count; ++i) all.push_back(numbered(prefix, i));
  return all;
}

std::vector<std::string_view> views(const std::vector<std::string>& strings) {
  return {strings.begin(), strings.end()};
}

class ManyTest : public StoreTest {
 protected:
  // Every second key of `keys` present, its value its name and a length of its own.
  void set_every_second(const std::vector<std::string>& keys) {
    for (std::size_t i = 0; i < keys.size(); i += 2) ASSERT_TRUE(store.set(keys[i], value_at(i)));
  }
  static std::string value_at(std::size_t i) {
    return numbered("value", i) + std::string(i * 7 % 200, 'x');
  }
};

// New keys and those that are there in one group, then some of them go: the index has what the table has.
TEST_F(ManyTest, GroupsInAnOrderedStore) {
  Options options;
  options.memory_bytes = std::size_t{16} << 20;
  options.ordered = true;
  store = *Store::open(options);
  std::set<std::string> expected;
  for (const std::size_t count : {1, 3, 64, 200, 1000}) {
    const std::vector<std::string> keys = names("user:" + std::to_string(count % 7) + ":", count);
    std::vector<Item> items;
    for (const std::string& key : keys) items.push_back({key, key, {}});
    std::vector<Result<std::uint64_t>> set(count, Result<std::uint64_t>(Status::kConflict));
    ASSERT_TRUE(store.set_many(items, set));
    for (const auto& r : set) EXPECT_TRUE(r);
    expected.insert(keys.begin(), keys.end());
    std::vector<std::string_view> going;
    for (std::size_t i = 0; i < count; i += 3) going.push_back(keys[i]);
    std::vector<Result<bool>> gone(going.size(), Result<bool>(false));
    ASSERT_TRUE(store.del_many(going, gone));
    for (const auto& r : gone) EXPECT_TRUE(*r);
    for (const std::string_view key : going) expected.erase(std::string(key));
    const Result<Keys> shown = store.keys();
    ASSERT_TRUE(shown);
    ASSERT_EQ(shown->size(), expected.size());
    std::size_t i = 0;
    for (const std::string& key : expected) EXPECT_EQ((*shown)[i++], key);
  }
}

TEST_F(ManyTest, AnswersComeInTheOrderAskedForEveryGroupSize) {
  const std::vector<std::string> keys = names("k", 300);
  set_every_second(keys);
  Values values;
  for (std::size_t count = 0; count <= keys.size(); ++count) {
    const std::vector<std::string_view> asked(keys.begin(),
                                              keys.begin() + static_cast<long>(count));
    ASSERT_TRUE(store.get_many(asked, values));
    ASSERT_EQ(values.size(), count);
    for (std::size_t i = 0; i < count; ++i) {
      if (i % 2 == 0) {
        ASSERT_TRUE(values[i].found());
        ASSERT_EQ(*values[i], value_at(i));
      } else {
        ASSERT_TRUE(values[i].missing());
      }
    }
  }
}

TEST_F(ManyTest, AtOneMomentAnswersTheSame) {
  const std::vector<std::string> keys = names("k", 200);
  set_every_second(keys);
  Values values;
  ASSERT_TRUE(store.get_many_at_one_moment(views(keys), values));
  ASSERT_EQ(values.size(), keys.size());
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (i % 2 == 0) {
      ASSERT_EQ(*values[i], value_at(i));
    } else {
      ASSERT_TRUE(values[i].missing());
    }
  }
}

TEST_F(ManyTest, StridedValuesLieWhereTheyWereAskedFor) {
  const std::vector<std::string> keys = names("k", 200);
  set_every_second(keys);
  const std::size_t stride = 256;
  std::vector<char> out(keys.size() * stride, '#');
  std::vector<Lookup<std::size_t>> answers(keys.size() + 3);
  ASSERT_TRUE(store.get_many(views(keys), out.data(), stride, answers));
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const char* at = out.data() + i * stride;
    if (i % 2 == 0) {
      ASSERT_TRUE(answers[i].found());
      ASSERT_EQ(std::string_view(at, *answers[i]), value_at(i));
      ASSERT_EQ(std::string_view(at + *answers[i], stride - *answers[i]),
                std::string(stride - *answers[i], '#'));
    } else {
      ASSERT_TRUE(answers[i].missing());
      ASSERT_EQ(std::string_view(at, stride), std::string(stride, '#'));
    }
  }
}

TEST_F(ManyTest, AValueLongerThanTheStrideIsNotCopied) {
  ASSERT_TRUE(store.set("short", "1234"));
  ASSERT_TRUE(store.set("exact", "12345678"));
  ASSERT_TRUE(store.set("long", "123456789"));
  const std::string_view keys[] = {"short", "long", "exact", "long"};
  char out[33];
  std::memset(out, '#', sizeof(out));
  Lookup<std::size_t> answers[4];
  ASSERT_TRUE(store.get_many(keys, out, 8, answers));
  EXPECT_EQ(*answers[0], 4u);
  EXPECT_EQ(*answers[1], 9u);
  EXPECT_EQ(*answers[2], 8u);
  EXPECT_EQ(*answers[3], 9u);
  EXPECT_EQ(std::string_view(out, 33),
            "1234####"
            "########"
            "12345678"
            "########"
            "#");
}

TEST_F(ManyTest, TooFewPlacesForTheAnswersIsRefused) {
  const std::string_view keys[] = {"a", "b", "c"};
  const Item items[] = {{"a", "1", {}}, {"b", "2", {}}, {"c", "3", {}}};
  char out[24];
  Lookup<std::size_t> sizes[2];
  Result<std::uint64_t> versions[2];
  Result<bool> removed[2];
  const Error expected{Status::kInvalidArgument, Field::kAnswers};
  EXPECT_EQ(store.get_many(keys, out, 8, sizes).error(), expected);
  EXPECT_EQ(store.set_many(items, versions).error(), expected);
  EXPECT_EQ(store.stats().entries, 0u) << "nothing was set";
  ASSERT_TRUE(store.set("a", "1"));
  EXPECT_EQ(store.del_many(keys, removed).error(), expected);
  EXPECT_EQ(value_of(store, "a"), "1") << "nothing was removed";
}

TEST_F(ManyTest, DuplicatesAreAnsweredEach) {
  ASSERT_TRUE(store.set("a", "1"));
  const std::vector<std::string_view> keys(100, "a");
  Values values;
  ASSERT_TRUE(store.get_many(keys, values));
  for (std::size_t i = 0; i < keys.size(); ++i) ASSERT_EQ(*values[i], "1");
  ASSERT_TRUE(store.get_many_at_one_moment(keys, values));
  for (std::size_t i = 0; i < keys.size(); ++i) ASSERT_EQ(*values[i], "1");
}

TEST_F(ManyTest, ABadKeyFailsAlone) {
  ASSERT_TRUE(store.set("a", "1"));
  ASSERT_TRUE(store.set("b", "2"));
  const std::string too_long(kKeyBytesMax + 1, 'k');
  const std::string_view keys[] = {"a", "", "b", too_long, "missing"};
  const auto check = [](const auto& at) {
    EXPECT_EQ(at(0), Status::kOk);
    EXPECT_EQ(at(1), Status::kInvalidKey);
    EXPECT_EQ(at(2), Status::kOk);
    EXPECT_EQ(at(3), Status::kTooLarge);
    EXPECT_EQ(at(4), Status::kNotFound);
  };
  Values values;
  ASSERT_TRUE(store.get_many(keys, values));
  check([&](std::size_t i) { return values[i].status(); });
  ASSERT_TRUE(store.get_many_at_one_moment(keys, values));
  check([&](std::size_t i) { return values[i].status(); });
  char out[5 * 8];
  Lookup<std::size_t> sizes[5];
  ASSERT_TRUE(store.get_many(keys, out, 8, sizes));
  check([&](std::size_t i) { return sizes[i].status(); });
  Status seen[5] = {};
  ASSERT_TRUE(store.visit_many(
      keys, [&](std::size_t i, Lookup<std::string_view> v) { seen[i] = v.status(); }));
  check([&](std::size_t i) { return seen[i]; });
}

TEST_F(ManyTest, ABadItemFailsAlone) {
  Options options = small_options(&clock);
  options.value_bytes_max = 100;
  const Store limited = open_or_fail(options);
  const std::string too_long(kKeyBytesMax + 1, 'k'), large(101, 'v');
  const Item items[] = {{"a", "1", {}},   {"", "2", {}},     {too_long, "3", {}},
                        {"b", large, {}}, {"c", "4", 0ms},   {"d", "5", milliseconds::max()},
                        {"e", "6", 50ms}, {"f", "seven", {}}};
  Result<std::uint64_t> answers[std::size(items)];
  ASSERT_TRUE(limited.set_many(items, answers));
  EXPECT_TRUE(answers[0].ok());
  EXPECT_EQ(answers[1].status(), Status::kInvalidKey);
  EXPECT_EQ(answers[2].status(), Status::kTooLarge);
  EXPECT_EQ(answers[3].status(), Status::kTooLarge);
  EXPECT_EQ(answers[4].error(), (Error{Status::kInvalidArgument, Field::kTtl}));
  EXPECT_EQ(answers[5].error(), (Error{Status::kOutOfRange, Field::kTtl}));
  EXPECT_TRUE(answers[6].ok());
  EXPECT_TRUE(answers[7].ok());
  EXPECT_EQ(value_of(limited, "a"), "1");
  EXPECT_EQ(*limited.ttl("e"), 50ms);
  EXPECT_EQ(value_of(limited, "f"), "seven");
  EXPECT_EQ(limited.stats().entries, 3u);

  const std::string_view keys[] = {"a", "", too_long, "missing", "e"};
  Result<bool> removed[5];
  ASSERT_TRUE(limited.del_many(keys, removed));
  EXPECT_TRUE(*removed[0]);
  EXPECT_EQ(removed[1].status(), Status::kInvalidKey);
  EXPECT_EQ(removed[2].status(), Status::kTooLarge);
  ASSERT_TRUE(removed[3].ok());
  EXPECT_FALSE(*removed[3]);
  EXPECT_TRUE(*removed[4]);
  EXPECT_EQ(limited.stats().entries, 1u);
}

TEST_F(ManyTest, NoKeysIsACallLikeAnyOther) {
  Values values;
  ASSERT_TRUE(store.set("a", "1"));
  const std::string_view keys[] = {"a"};
  ASSERT_TRUE(store.get_many(keys, values));
  ASSERT_TRUE(store.get_many(std::span<const std::string_view>(), values));
  EXPECT_EQ(values.size(), 0u);
  ASSERT_TRUE(store.get_many_at_one_moment({}, values));
  EXPECT_EQ(values.size(), 0u);
  EXPECT_TRUE(store.get_many({}, nullptr, 8, {}));
  EXPECT_TRUE(store.visit_many({}, [](std::size_t, Lookup<std::string_view>) { ADD_FAILURE(); }));
  EXPECT_TRUE(store.set_many({}, {}));
  EXPECT_TRUE(store.del_many({}, {}));
}

TEST_F(ManyTest, AsManyKeysAsACallMayHave) {
  const std::vector<std::string> keys = names("k", kKeysPerCallMax);
  const std::vector<std::string_view> asked = views(keys);
  std::vector<Item> items;
  for (const std::string_view key : asked) items.push_back({key, key, {}});
  std::vector<Result<std::uint64_t>> versions(items.size());
  ASSERT_TRUE(store.set_many(items, versions));
  for (const Result<std::uint64_t>& v : versions) ASSERT_TRUE(v.ok());
  EXPECT_EQ(store.stats().entries, kKeysPerCallMax);
  Values values;
  ASSERT_TRUE(store.get_many(asked, values));
  for (std::size_t i = 0; i < asked.size(); ++i) ASSERT_EQ(*values[i], asked[i]);
  std::vector<Result<bool>> removed(asked.size());
  ASSERT_TRUE(store.del_many(asked, removed));
  for (const Result<bool>& r : removed) ASSERT_TRUE(r.ok() && *r);
  EXPECT_EQ(store.stats().entries, 0u);
}

TEST_F(ManyTest, OneKeyMoreIsTooLarge) {
  const std::vector<std::string_view> keys(kKeysPerCallMax + 1, "k");
  const std::vector<Item> items(kKeysPerCallMax + 1, Item{"k", "v", {}});
  std::vector<Lookup<std::size_t>> sizes(keys.size());
  std::vector<Result<std::uint64_t>> versions(keys.size());
  std::vector<Result<bool>> removed(keys.size());
  std::vector<char> out(keys.size());
  Values values;
  const Error expected{Status::kTooLarge, Field::kKeys};
  EXPECT_EQ(store.get_many(keys, values).error(), expected);
  EXPECT_EQ(store.get_many(keys, out.data(), 1, sizes).error(), expected);
  EXPECT_EQ(
      store.visit_many(keys, [](std::size_t, Lookup<std::string_view>) { ADD_FAILURE(); }).error(),
      expected);
  EXPECT_EQ(store.set_many(items, versions).error(), expected);
  EXPECT_EQ(store.del_many(keys, removed).error(), expected);
  EXPECT_EQ(store.stats().sets, 0u);
}

TEST_F(ManyTest, AtOneMomentHasItsOwnLimit) {
  ASSERT_TRUE(store.set("k", "v"));
  std::vector<std::string_view> keys(kKeysAtOneMomentMax, "k");
  Values values;
  ASSERT_TRUE(store.get_many_at_one_moment(keys, values));
  EXPECT_EQ(*values[kKeysAtOneMomentMax - 1], "v");
  keys.push_back("k");
  EXPECT_EQ(store.get_many_at_one_moment(keys, values).error(),
            (Error{Status::kTooLarge, Field::kKeys}));
}

TEST_F(ManyTest, TheSameKeyTwiceInSetManyWritesBothInOrder) {
  std::vector<Item> items;
  const std::vector<std::string> contents = names("v", 150);
  for (const std::string& v : contents) items.push_back({"k", v, {}});
  std::vector<Result<std::uint64_t>> versions(items.size());
  ASSERT_TRUE(store.set_many(items, versions));
  for (std::size_t i = 1; i < versions.size(); ++i) {
    ASSERT_TRUE(versions[i].ok());
    ASSERT_GT(*versions[i], *versions[i - 1]);
  }
  EXPECT_EQ(value_of(store, "k"), contents.back());
  EXPECT_EQ(store.get_entry("k")->version, *versions.back());
  EXPECT_EQ(store.stats().entries, 1u);
}

TEST_F(ManyTest, SetManyReplacesAndClearsLifetimes) {
  ASSERT_TRUE(store.set("a", "old", {.ttl = 10ms}));
  ASSERT_TRUE(store.set("b", "old"));
  const Item items[] = {{"a", "new", {}}, {"b", "new", 20ms}, {"c", "", {}}};
  Result<std::uint64_t> versions[3];
  ASSERT_TRUE(store.set_many(items, versions));
  EXPECT_EQ(value_of(store, "a"), "new");
  EXPECT_EQ(*store.ttl("a"), std::nullopt);
  EXPECT_EQ(*store.ttl("b"), 20ms);
  EXPECT_EQ(value_of(store, "c"), "");
}

TEST_F(ManyTest, TheSameKeyTwiceInDelManyIsRemovedOnce) {
  ASSERT_TRUE(store.set("k", "v"));
  const std::string_view keys[] = {"k", "k", "k"};
  Result<bool> removed[3];
  ASSERT_TRUE(store.del_many(keys, removed));
  EXPECT_TRUE(*removed[0]);
  EXPECT_FALSE(*removed[1]);
  EXPECT_FALSE(*removed[2]);
}

TEST_F(ManyTest, VisitManyCallsOnceForEachIndex) {
  const std::vector<std::string> keys = names("k", 777);
  set_every_second(keys);
  std::vector<unsigned> calls(keys.size());
  ASSERT_TRUE(store.visit_many(views(keys), [&](std::size_t i, Lookup<std::string_view> v) {
    ++calls[i];
    if (i % 2 == 0) {
      EXPECT_EQ(*v, value_at(i));
    } else {
      EXPECT_TRUE(v.missing());
    }
  }));
  for (const unsigned n : calls) ASSERT_EQ(n, 1u);
}

TEST_F(ManyTest, AVisitOfManyMayWriteTheKeysItVisits) {
  const std::vector<std::string> keys = names("k", 200);
  for (const std::string& key : keys) ASSERT_TRUE(store.set(key, pattern(500)));
  std::size_t called = 0;
  ASSERT_TRUE(store.visit_many(views(keys), [&](std::size_t i, Lookup<std::string_view> v) {
    ++called;
    // Its own key and one that is still to come: each answer is of some moment within the call.
    ASSERT_TRUE(store.set(keys[i], "replaced"));
    ASSERT_TRUE(store.del(keys[(i + 50) % keys.size()]));
    ASSERT_TRUE(store.set(keys[(i + 50) % keys.size()], pattern(500)));
    for (int n = 0; n < 20; ++n) ASSERT_TRUE(store.set("churn", pattern(500, 7)));
    ASSERT_TRUE(v.found() || v.missing());
    if (v) {
      ASSERT_TRUE(*v == pattern(500) || *v == "replaced");
    }
  }));
  EXPECT_EQ(called, keys.size());
}

TEST_F(ManyTest, LongValuesAndLongKeysGoTogetherWithShortOnes) {
  std::vector<std::string> keys;
  for (const std::size_t size : {1u, 15u, 16u, 17u, 253u, 254u, 255u, 256u, 1'000u, 65'527u}) {
    keys.push_back(std::string(size, 'k'));
  }
  for (std::size_t i = 0; i < keys.size(); ++i) {
    ASSERT_TRUE(store.set(keys[i], pattern(i * 40'000, static_cast<unsigned>(i))));
  }
  Values values;
  ASSERT_TRUE(store.get_many(views(keys), values));
  for (std::size_t i = 0; i < keys.size(); ++i) {
    ASSERT_EQ(*values[i], pattern(i * 40'000, static_cast<unsigned>(i)));
  }
}

TEST_F(ManyTest, ValuesMoveAndAreReused) {
  ASSERT_TRUE(store.set("a", "1"));
  const std::string_view keys[] = {"a", "b"};
  Values first;
  ASSERT_TRUE(store.get_many(keys, first));
  Values second(std::move(first));
  EXPECT_EQ(*second[0], "1");
  Values third;
  third = std::move(second);
  EXPECT_EQ(*third[0], "1");
  EXPECT_TRUE(third[1].missing());
  ASSERT_TRUE(store.set("a", pattern(10'000)));
  ASSERT_TRUE(store.get_many(keys, third));
  EXPECT_EQ(*third[0], pattern(10'000));
}

TEST_F(ManyTest, CountersCountEachKey) {
  ASSERT_TRUE(store.set("a", "1"));
  ASSERT_TRUE(store.set("b", "2"));
  const Stats before = store.stats();
  const std::string_view keys[] = {"a", "b", "missing", "a", "missing"};
  Values values;
  ASSERT_TRUE(store.get_many(keys, values));
  const Stats after = store.stats();
  EXPECT_EQ(after.hits - before.hits, 3u);
  EXPECT_EQ(after.misses - before.misses, 2u);
}

}  // namespace
}  // namespace tern::test
