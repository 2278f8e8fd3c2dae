// allocate and publish: a value filled in the store's own memory.
#include <tern/store.h>

#include <cstring>
#include <string>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

class DraftTest : public StoreTest {
 protected:
  Draft filled(std::string_view key, std::string_view value) {
    Result<Draft> draft = store.allocate(key, value.size());
    EXPECT_TRUE(draft.ok()) << testing::PrintToString(draft.error());
    EXPECT_EQ(draft->bytes().size(), value.size());
    if (!value.empty()) std::memcpy(draft->bytes().data(), value.data(), value.size());
    return std::move(*draft);
  }
};

TEST_F(DraftTest, WhatWasFilledInIsPublished) {
  for (const std::size_t size : {0u, 1u, 64u, 255u, 4'096u, 65'536u, 1'000'000u}) {
    Draft draft = filled("k", pattern(size));
    const Result<std::uint64_t> version = draft.publish();
    ASSERT_TRUE(version);
    EXPECT_EQ(value_of(store, "k"), pattern(size));
    EXPECT_EQ(store.get_entry("k")->version, *version);
  }
  EXPECT_EQ(store.stats().entries, 1u);
}

TEST_F(DraftTest, NothingIsVisibleBeforePublish) {
  Draft draft = filled("k", "new");
  EXPECT_EQ(value_of(store, "k"), std::nullopt);
  ASSERT_TRUE(store.set("k", "old"));
  EXPECT_EQ(value_of(store, "k"), "old");
  ASSERT_TRUE(draft.publish());
  EXPECT_EQ(value_of(store, "k"), "new");
}

TEST_F(DraftTest, AnAbandonedDraftNeverHappened) {
  ASSERT_TRUE(store.set("k", "old"));
  const std::uint64_t version = store.get_entry("k")->version;
  { Draft draft = filled("k", "new"); }
  EXPECT_EQ(value_of(store, "k"), "old");
  EXPECT_EQ(store.get_entry("k")->version, version);
}

TEST_F(DraftTest, AbandonedDraftsGiveTheirMemoryBack) {
  for (unsigned i = 0; i < 20'000; ++i) {
    const Result<Draft> draft = store.allocate("k", 10'000);
    ASSERT_TRUE(draft.ok()) << status_name(draft.status()) << " after " << i;
  }
  for (unsigned i = 0; i < 200; ++i) {
    const Result<Draft> draft = store.allocate("k", 2'000'000);
    ASSERT_TRUE(draft.ok()) << status_name(draft.status()) << " after " << i;
  }
}

TEST_F(DraftTest, OptionsApplyAtPublish) {
  ASSERT_TRUE(store.set("k", "old"));
  Value previous;
  Draft draft = filled("k", "new");
  ASSERT_TRUE(draft.publish({.ttl = 50ms, .return_previous = &previous}));
  EXPECT_EQ(previous.view(), "old");
  EXPECT_EQ(*store.ttl("k"), 50ms);
  Draft next = filled("k", "newer");
  ASSERT_TRUE(next.publish({.keep_ttl = true}));
  EXPECT_EQ(*store.ttl("k"), 50ms);
  EXPECT_EQ(value_of(store, "k"), "newer");
  ASSERT_TRUE(filled("k", "newest").publish());
  EXPECT_EQ(*store.ttl("k"), std::nullopt);
}

TEST_F(DraftTest, ADraftWhoseConditionFailedCanBePublishedAgain) {
  const std::uint64_t version = *store.set("k", "old");
  Draft draft = filled("k", "new");
  EXPECT_EQ(draft.publish({.if_absent = true}).status(), Status::kExists);
  EXPECT_EQ(draft.publish({.if_version = version + 1}).status(), Status::kMismatch);
  EXPECT_EQ(draft.publish({.ttl = 0ms}).error(), (Error{Status::kInvalidArgument, Field::kTtl}));
  EXPECT_EQ(value_of(store, "k"), "old");
  ASSERT_EQ(std::string_view(draft.bytes().data(), draft.bytes().size()), "new");
  draft.bytes()[0] = 'N';
  EXPECT_TRUE(draft.publish({.if_version = version}));
  EXPECT_EQ(value_of(store, "k"), "New");

  Draft absent = filled("absent", "v");
  EXPECT_EQ(absent.publish({.if_present = true}).status(), Status::kNotFound);
  EXPECT_TRUE(absent.publish({.if_absent = true}));
  EXPECT_EQ(value_of(store, "absent"), "v");
}

TEST_F(DraftTest, ADraftIsPublishedOnce) {
  Draft draft = filled("k", "v");
  ASSERT_TRUE(draft.publish());
  ASSERT_TRUE(store.del("k"));
  EXPECT_FALSE(draft.publish());
  EXPECT_EQ(draft.bytes().size(), 0u);
  EXPECT_EQ(value_of(store, "k"), std::nullopt);
}

TEST_F(DraftTest, ADefaultDraftPublishesNothing) {
  Draft draft;
  EXPECT_EQ(draft.bytes().size(), 0u);
  EXPECT_FALSE(draft.publish());
}

TEST_F(DraftTest, MovesCarryTheDraft) {
  Draft a = filled("k", "a");
  Draft b = filled("k", "b");
  Draft c(std::move(a));
  EXPECT_EQ(a.bytes().size(), 0u);
  EXPECT_FALSE(a.publish());
  c = std::move(b);
  ASSERT_TRUE(c.publish());
  EXPECT_EQ(value_of(store, "k"), "b");
}

TEST_F(DraftTest, SeveralDraftsOfOneKeyAreIndependent) {
  Draft a = filled("k", "first");
  Draft b = filled("k", "second");
  ASSERT_TRUE(b.publish());
  ASSERT_TRUE(a.publish());
  EXPECT_EQ(value_of(store, "k"), "first");
}

TEST_F(DraftTest, TooLargeAndBadKeysAreRefusedAtAllocate) {
  EXPECT_EQ(store.allocate("", 1).status(), Status::kInvalidKey);
  EXPECT_EQ(store.allocate(std::string(kKeyBytesMax + 1, 'k'), 1).error(),
            (Error{Status::kTooLarge, Field::kKey}));
  EXPECT_EQ(store.allocate("k", std::size_t{1} << 40).error(),
            (Error{Status::kTooLarge, Field::kValue}));
  EXPECT_EQ(store.allocate("k", ~std::size_t{0}).error(),
            (Error{Status::kTooLarge, Field::kValue}));
}

TEST_F(DraftTest, AnEmptyValueAndALongKey) {
  const std::string key(kKeyBytesMax, 'k');
  ASSERT_TRUE(filled(key, "").publish());
  EXPECT_EQ(value_of(store, key), "");
  ASSERT_TRUE(filled(key, pattern(100'000)).publish({.ttl = 1s}));
  EXPECT_EQ(value_of(store, key), pattern(100'000));
}

TEST_F(DraftTest, ADraftOfASessionWorksAlike) {
  Result<Session> session = store.session();
  ASSERT_TRUE(session);
  Result<Draft> draft = session->allocate("k", 3);
  ASSERT_TRUE(draft);
  std::memcpy(draft->bytes().data(), "abc", 3);
  ASSERT_TRUE(draft->publish());
  EXPECT_EQ(value_of(store, "k"), "abc");
}

TEST_F(DraftTest, PublishAfterCloseAnswersClosed) {
  Store own = open_or_fail(small_options());
  Result<Draft> draft = own.allocate("k", 3);
  ASSERT_TRUE(draft);
  std::memcpy(draft->bytes().data(), "abc", 3);
  own.close();
  EXPECT_EQ(draft->publish().status(), Status::kClosed);
}

}  // namespace
}  // namespace tern::test
