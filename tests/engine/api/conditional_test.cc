// Writes that depend on what is there: set's conditions, set_nx, compare_and_swap,
// compare_and_delete, update.
#include <tern/store.h>

#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

class ConditionalTest : public StoreTest {};

TEST_F(ConditionalTest, IfAbsentMeetsALiveKey) {
  ASSERT_TRUE(store.set("k", "v", {.if_absent = true}));
  EXPECT_EQ(store.set("k", "w", {.if_absent = true}).status(), Status::kExists);
  EXPECT_EQ(value_of(store, "k"), "v");
}

TEST_F(ConditionalTest, IfPresentMeetsAMissingKey) {
  EXPECT_EQ(store.set("k", "v", {.if_present = true}).status(), Status::kNotFound);
  EXPECT_EQ(value_of(store, "k"), std::nullopt);
  ASSERT_TRUE(store.set("k", "v"));
  EXPECT_TRUE(store.set("k", "w", {.if_present = true}));
  EXPECT_EQ(value_of(store, "k"), "w");
}

TEST_F(ConditionalTest, IfVersionMeetsAnotherVersion) {
  const Result<std::uint64_t> v = store.set("k", "v");
  ASSERT_TRUE(v);
  EXPECT_EQ(store.set("k", "w", {.if_version = *v + 1}).status(), Status::kMismatch);
  EXPECT_EQ(store.set("k", "w", {.if_version = *v - 1}).status(), Status::kMismatch);
  EXPECT_EQ(value_of(store, "k"), "v");
  const Result<std::uint64_t> w = store.set("k", "w", {.if_version = *v});
  ASSERT_TRUE(w);
  EXPECT_EQ(value_of(store, "k"), "w");
  EXPECT_EQ(store.set("k", "x", {.if_version = *v}).status(), Status::kMismatch);
}

TEST_F(ConditionalTest, IfVersionOfAMissingKeyIsAMismatch) {
  EXPECT_EQ(store.set("k", "v", {.if_version = 1}).status(), Status::kMismatch);
  EXPECT_EQ(store.set("k", "v", {.if_version = 0}).status(), Status::kMismatch);
  const Result<std::uint64_t> v = store.set("k", "v");
  ASSERT_TRUE(*store.del("k"));
  EXPECT_EQ(store.set("k", "v", {.if_version = *v}).status(), Status::kMismatch);
  EXPECT_EQ(value_of(store, "k"), std::nullopt);
}

TEST_F(ConditionalTest, IfVersionAboveEveryPossibleVersionIsAMismatch) {
  ASSERT_TRUE(store.set("k", "v"));
  EXPECT_EQ(store.set("k", "w", {.if_version = ~std::uint64_t{0}}).status(), Status::kMismatch);
  // Not the low bits alone count.
  const std::uint64_t version = store.get_entry("k")->version;
  EXPECT_EQ(store.set("k", "w", {.if_version = version | std::uint64_t{1} << 50}).status(),
            Status::kMismatch);
  EXPECT_FALSE(*store.compare_and_swap_version("k", version | std::uint64_t{1} << 63, "w"));
  EXPECT_EQ(value_of(store, "k"), "v");
}

TEST_F(ConditionalTest, AnExpiredKeyCountsAsAbsent) {
  ASSERT_TRUE(store.set("k", "v", {.ttl = 5ms}));
  const std::uint64_t version = store.get_entry("k")->version;
  clock.advance(5ms);
  EXPECT_EQ(store.set("k", "w", {.if_present = true}).status(), Status::kNotFound);
  EXPECT_EQ(store.set("k", "w", {.if_version = version}).status(), Status::kMismatch);
  EXPECT_FALSE(*store.compare_and_swap("k", "v", "w"));
  EXPECT_FALSE(*store.compare_and_swap_version("k", version, "w"));
  EXPECT_FALSE(*store.compare_and_delete("k", "v"));
  EXPECT_TRUE(store.set("k", "w", {.if_absent = true}));
  EXPECT_EQ(value_of(store, "k"), "w");
}

TEST_F(ConditionalTest, ConditionsThatContradictEachOtherAreRefused) {
  ASSERT_TRUE(store.set("k", "v"));
  const SetOptions contradictions[] = {
      {.if_absent = true, .if_present = true},
      {.if_absent = true, .if_version = 1},
      {.ttl = 1s, .keep_ttl = true},
  };
  for (const SetOptions& options : contradictions) {
    for (const char* key : {"k", "absent"}) {
      const Result<std::uint64_t> r = store.set(key, "w", options);
      EXPECT_EQ(r.status(), Status::kInvalidArgument);
      EXPECT_NE(r.error().field, Field::kNone);
    }
  }
  EXPECT_EQ(store.set("k", "w", contradictions[0]).error().field, Field::kConditions);
  EXPECT_EQ(value_of(store, "k"), "v");
  EXPECT_EQ(value_of(store, "absent"), std::nullopt);
}

TEST_F(ConditionalTest, IfPresentAndIfVersionGoTogether) {
  const Result<std::uint64_t> v = store.set("k", "v");
  EXPECT_TRUE(store.set("k", "w", {.if_present = true, .if_version = *v}));
}

TEST_F(ConditionalTest, AFailedConditionChangesNothing) {
  ASSERT_TRUE(store.set("k", "v", {.ttl = 100ms}));
  const std::uint64_t version = store.get_entry("k")->version;
  EXPECT_FALSE(store.set("k", "w", {.ttl = 5s, .if_absent = true}));
  EXPECT_FALSE(store.set("k", "w", {.ttl = 5s, .if_version = version + 7}));
  const Lookup<Entry> e = store.get_entry("k");
  ASSERT_TRUE(e);
  EXPECT_EQ(e->value, "v");
  EXPECT_EQ(e->version, version);
  EXPECT_EQ(e->ttl, 100ms);
}

TEST_F(ConditionalTest, SetNxSetsOnlyWhatIsAbsent) {
  EXPECT_TRUE(*store.set_nx("k", "v"));
  EXPECT_FALSE(*store.set_nx("k", "w"));
  EXPECT_EQ(value_of(store, "k"), "v");
  ASSERT_TRUE(*store.del("k"));
  EXPECT_TRUE(*store.set_nx("k", "w", {.ttl = 5ms}));
  clock.advance(5ms);
  EXPECT_TRUE(*store.set_nx("k", "x"));
  EXPECT_EQ(value_of(store, "k"), "x");
  EXPECT_EQ(*store.ttl("k"), std::nullopt);
}

TEST_F(ConditionalTest, CompareAndSwapNeedsEqualBytes) {
  ASSERT_TRUE(store.set("k", "value"));
  EXPECT_FALSE(*store.compare_and_swap("k", "valuE", "x"));
  EXPECT_FALSE(*store.compare_and_swap("k", "valu", "x"));
  EXPECT_FALSE(*store.compare_and_swap("k", "value ", "x"));
  EXPECT_FALSE(*store.compare_and_swap("k", "", "x"));
  EXPECT_EQ(value_of(store, "k"), "value");
  EXPECT_TRUE(*store.compare_and_swap("k", "value", "x"));
  EXPECT_EQ(value_of(store, "k"), "x");
}

TEST_F(ConditionalTest, CompareAndSwapOfEqualBytesAnswersTrue) {
  ASSERT_TRUE(store.set("k", "same"));
  EXPECT_TRUE(*store.compare_and_swap("k", "same", "same"));
  EXPECT_EQ(value_of(store, "k"), "same");
}

TEST_F(ConditionalTest, CompareAndSwapOfAMissingKeyIsFalseEvenForEmptyBytes) {
  EXPECT_FALSE(*store.compare_and_swap("k", "", "x"));
  EXPECT_EQ(value_of(store, "k"), std::nullopt);
  ASSERT_TRUE(store.set("k", ""));
  EXPECT_TRUE(*store.compare_and_swap("k", "", "x"));
}

TEST_F(ConditionalTest, CompareAndSwapComparesEveryByteOfALongValue) {
  for (const std::size_t size : {1u, 15u, 16u, 17u, 63u, 64u, 65u, 4'096u, 300'000u}) {
    const std::string value = pattern(size);
    ASSERT_TRUE(store.set("k", value));
    for (const std::size_t at : {std::size_t{0}, size / 2, size - 1}) {
      std::string other = value;
      other[at] = static_cast<char>(other[at] ^ 1);
      ASSERT_FALSE(*store.compare_and_swap("k", other, "x")) << size << " at " << at;
    }
    ASSERT_TRUE(*store.compare_and_swap("k", value, "x")) << size;
  }
}

TEST_F(ConditionalTest, CompareAndSwapKeepsTheLifetime) {
  ASSERT_TRUE(store.set("k", "v", {.ttl = 100ms}));
  clock.advance(40ms);
  ASSERT_TRUE(*store.compare_and_swap("k", "v", "w"));
  EXPECT_EQ(*store.ttl("k"), 60ms);
  ASSERT_TRUE(*store.compare_and_swap_version("k", store.get_entry("k")->version, "x"));
  EXPECT_EQ(*store.ttl("k"), 60ms);
  clock.advance(60ms);
  EXPECT_EQ(value_of(store, "k"), std::nullopt);
}

TEST_F(ConditionalTest, CompareAndSwapVersion) {
  const std::uint64_t v = *store.set("k", "v");
  EXPECT_FALSE(*store.compare_and_swap_version("k", v + 1, "w"));
  EXPECT_TRUE(*store.compare_and_swap_version("k", v, "w"));
  EXPECT_FALSE(*store.compare_and_swap_version("k", v, "x"));
  EXPECT_EQ(value_of(store, "k"), "w");
  EXPECT_FALSE(*store.compare_and_swap_version("missing", 1, "x"));
}

TEST_F(ConditionalTest, AVersionFromBeforeARemovalNeverMatchesAgain) {
  const std::uint64_t v = *store.set("k", "same");
  ASSERT_TRUE(*store.del("k"));
  ASSERT_TRUE(store.set("k", "same"));
  EXPECT_FALSE(*store.compare_and_swap_version("k", v, "x"));
}

TEST_F(ConditionalTest, CompareAndDelete) {
  EXPECT_FALSE(*store.compare_and_delete("k", "v"));
  ASSERT_TRUE(store.set("k", "v"));
  EXPECT_FALSE(*store.compare_and_delete("k", "w"));
  EXPECT_EQ(value_of(store, "k"), "v");
  EXPECT_TRUE(*store.compare_and_delete("k", "v"));
  EXPECT_EQ(value_of(store, "k"), std::nullopt);
}

TEST_F(ConditionalTest, UpdateSeesWhatIsThereAndDecides) {
  const auto missing = store.update("k", [](std::optional<std::string_view> v) {
    return v ? Update::keep() : Update::replace("created");
  });
  ASSERT_TRUE(missing);
  EXPECT_EQ(*missing, Update::Kind::kReplace);
  EXPECT_EQ(value_of(store, "k"), "created");

  std::string next;
  const auto replaced = store.update("k", [&](std::optional<std::string_view> v) {
    next = std::string(v.value_or("?")) + "!";
    return Update::replace(next);
  });
  ASSERT_TRUE(replaced);
  EXPECT_EQ(*replaced, Update::Kind::kReplace);
  EXPECT_EQ(value_of(store, "k"), "created!");

  const std::uint64_t version = store.get_entry("k")->version;
  const auto kept =
      store.update("k", [](std::optional<std::string_view>) { return Update::keep(); });
  ASSERT_TRUE(kept);
  EXPECT_EQ(*kept, Update::Kind::kKeep);
  EXPECT_EQ(store.get_entry("k")->version, version);

  const auto removed =
      store.update("k", [](std::optional<std::string_view>) { return Update::remove(); });
  ASSERT_TRUE(removed);
  EXPECT_EQ(*removed, Update::Kind::kRemove);
  EXPECT_EQ(value_of(store, "k"), std::nullopt);
}

TEST_F(ConditionalTest, UpdateOfAMissingKeyMayLeaveItMissing) {
  ASSERT_TRUE(store.update("k", [](std::optional<std::string_view>) { return Update::keep(); }));
  EXPECT_EQ(value_of(store, "k"), std::nullopt);
  ASSERT_TRUE(store.update("k", [](std::optional<std::string_view>) { return Update::remove(); }));
  EXPECT_EQ(value_of(store, "k"), std::nullopt);
  EXPECT_EQ(store.stats().entries, 0u);
}

TEST_F(ConditionalTest, UpdateTakesAnExpiredKeyForMissing) {
  ASSERT_TRUE(store.set("k", "v", {.ttl = 5ms}));
  clock.advance(5ms);
  bool saw_value = true;
  ASSERT_TRUE(store.update("k", [&](std::optional<std::string_view> v) {
    saw_value = v.has_value();
    return Update::replace("new");
  }));
  EXPECT_FALSE(saw_value);
  EXPECT_EQ(value_of(store, "k"), "new");
  EXPECT_EQ(*store.ttl("k"), std::nullopt);
}

TEST_F(ConditionalTest, UpdateKeepsTheLifetime) {
  ASSERT_TRUE(store.set("k", "v", {.ttl = 50ms}));
  ASSERT_TRUE(
      store.update("k", [](std::optional<std::string_view>) { return Update::replace("w"); }));
  EXPECT_EQ(*store.ttl("k"), 50ms);
}

TEST_F(ConditionalTest, UpdateMayCallTheStore) {
  ASSERT_TRUE(store.set("k", "v"));
  ASSERT_TRUE(store.set("other", "1"));
  std::string bytes;
  ASSERT_TRUE(store.update("k", [&](std::optional<std::string_view> v) {
    EXPECT_EQ(value_of(store, "other"), "1");
    EXPECT_TRUE(store.set("other", "2"));
    EXPECT_TRUE(store.set("third", "3"));
    bytes = std::string(v.value_or("?")) + "+";
    return Update::replace(bytes);
  }));
  EXPECT_EQ(value_of(store, "k"), "v+");
  EXPECT_EQ(value_of(store, "other"), "2");
}

TEST_F(ConditionalTest, UpdateMayReplaceWithAPartOfWhatItSaw) {
  const std::string value = pattern(5'000);
  ASSERT_TRUE(store.set("k", value));
  ASSERT_TRUE(store.update("k", [](std::optional<std::string_view> v) {
    return Update::replace(v.value_or("").substr(100, 3'000));
  }));
  EXPECT_EQ(value_of(store, "k"), value.substr(100, 3'000));
}

TEST_F(ConditionalTest, UpdateRunsAgainWhenAnotherWriteCameBetween) {
  ASSERT_TRUE(store.set("k", "0"));
  int calls = 0;
  std::string bytes;
  const auto r = store.update("k", [&](std::optional<std::string_view> v) {
    bytes = std::string(v.value_or("?")) + "+";
    if (++calls <= 3) {
      std::jthread([&] {
        ASSERT_TRUE(store.set("k", numbered("", static_cast<unsigned>(calls))));
      }).join();
    }
    return Update::replace(bytes);
  });
  ASSERT_TRUE(r);
  EXPECT_EQ(calls, 4);
  EXPECT_EQ(value_of(store, "k"), "3+");
}

TEST_F(ConditionalTest, UpdateGivesUpAfter64Conflicts) {
  ASSERT_TRUE(store.set("k", "0"));
  unsigned calls = 0;
  const auto r = store.update("k", [&](std::optional<std::string_view>) {
    ++calls;
    std::jthread([&] { ASSERT_TRUE(store.set("k", numbered("other's ", calls))); }).join();
    return Update::replace("mine");
  });
  EXPECT_EQ(r.status(), Status::kConflict);
  EXPECT_EQ(calls, 64u);
  EXPECT_EQ(value_of(store, "k"), "other's 64");
}

TEST_F(ConditionalTest, UpdateToAValueThatIsTooLargeChangesNothing) {
  Options options = small_options(&clock);
  options.value_bytes_max = 1'000;
  const Store limited = open_or_fail(options);
  ASSERT_TRUE(limited.set("k", "v"));
  const std::string large(1'001, 'x');
  const auto r =
      limited.update("k", [&](std::optional<std::string_view>) { return Update::replace(large); });
  EXPECT_EQ(r.status(), Status::kTooLarge);
  EXPECT_EQ(value_of(limited, "k"), "v");
}

}  // namespace
}  // namespace tern::test
