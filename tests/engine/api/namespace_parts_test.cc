// What a namespace has beside keys: batches and transactions over several of them at one moment, leases, locks and writes
// that depend on one, sets of watches and callbacks. As in the default namespace, which is tested with its own tests.
#include <tern/dispatcher.h>
#include <tern/namespace.h>
#include <tern/watch_set.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

using namespace std::literals;

class NamespacePartsTest : public StoreTest {
 protected:
  Namespace ns(std::string_view name, const NamespaceOptions& options = {}) {
    const Result<Namespace> r = store.ns(name, options);
    EXPECT_TRUE(r) << testing::PrintToString(r.error());
    return *r;
  }
  Namespace a = ns("a"), b = ns("b", {.separator = '/', .fold_case = true});
};

SetOptions fenced(const Fence& fence) {
  SetOptions o;
  o.if_fence = fence;
  return o;
}

// --- batches ---------------------------------------------------------------------------------------------------------

TEST_F(NamespacePartsTest, ABatchChangesSeveralAtOneMoment) {
  ASSERT_TRUE(store.set("k", "0"));
  ASSERT_TRUE(a.set("gone", "0"));
  WriteBatch batch;
  batch.set("k", "through");  // of whom it is written through
  batch.in(a).set("k", "in a");
  batch.del("gone");
  batch.in(b).set("K", "in b");
  batch.require_absent("K");
  batch.in(store).set("k", "default");
  batch.set("\xFFk", "marked");
  ASSERT_TRUE(a.write(batch)) << batch.failed();
  EXPECT_EQ(value_of(a, "k"), "in a");  // the last of two on one key
  EXPECT_EQ(value_of(a, "gone"), std::nullopt);
  EXPECT_EQ(value_of(b, "k"), "in b");
  EXPECT_EQ(value_of(store, "k"), "default");
  EXPECT_EQ(value_of(store, "\xFFk"), "marked");
  EXPECT_EQ(batch.version(0), 0u);
  EXPECT_EQ(batch.version(1), a.get_entry("k")->version);
  EXPECT_EQ(batch.version(3), b.get_entry("k")->version);
  EXPECT_EQ(a.size(), 1u);
  EXPECT_EQ(b.size(), 1u);

  // None of it, if a condition of one of them fails; and which.
  WriteBatch other;
  other.in(a).set("k", "again");
  other.in(b).require_value("k", "in a");
  EXPECT_EQ(store.write(other).status(), Status::kConflict);
  EXPECT_EQ(other.failed(), 1u);
  EXPECT_EQ(value_of(a, "k"), "in a");

  // Cleared, it is of nobody in particular again.
  other.clear();
  other.set("fresh", "1");
  ASSERT_TRUE(b.write(other));
  EXPECT_EQ(value_of(b, "fresh"), "1");
}

TEST_F(NamespacePartsTest, ATransactionAsksInOneAndWritesToAnother) {
  ASSERT_TRUE(a.set("stock", "1"));
  WriteBatch when, then, otherwise;
  when.in(a).require_value("stock", "1");
  then.in(a).set("stock", "0");
  then.in(b).set("Order/1", "placed");
  otherwise.in(b).set("refused", "1");
  EXPECT_EQ(*store.transact(when, then, otherwise), true);
  EXPECT_EQ(value_of(a, "stock"), "0");
  EXPECT_EQ(value_of(b, "order/1"), "placed");
  EXPECT_EQ(*b.transact(when, then, otherwise), false);
  EXPECT_EQ(value_of(b, "refused"), "1");
}

TEST_F(NamespacePartsTest, ABatchIsOfOneStore) {
  const Store other = open_or_fail(small_options());
  const Namespace theirs = *other.ns("a");
  const Error kOthers{Status::kInvalidArgument, Field::kName};
  WriteBatch batch;
  batch.set("k", "1");
  batch.in(theirs).set("k", "1");
  EXPECT_EQ(store.write(batch).error(), kOthers);
  EXPECT_EQ(batch.failed(), 1u);
  WriteBatch when, none;
  when.in(other).require_absent("k");
  EXPECT_EQ(store.transact(when, none, none).error(), kOthers);
  WriteBatch closed;
  closed.in(Namespace()).set("k", "1");
  EXPECT_EQ(store.write(closed).error(), kOthers);
  // One whose store has gone.
  WriteBatch late;
  {
    const Store brief = open_or_fail(small_options());
    late.in(*brief.ns("gone")).set("k", "1");
  }
  EXPECT_EQ(store.write(late).error(), kOthers);
  EXPECT_TRUE(value_of(store, "k") == std::nullopt && value_of(theirs, "k") == std::nullopt);
}

TEST_F(NamespacePartsTest, ABatchKeepsEachNamespacesRules) {
  const Namespace paths = ns("paths", {.check_paths = true});
  WriteBatch batch;
  batch.in(paths).set("a..b", "1");
  EXPECT_EQ(store.write(batch).status(), Status::kInvalidKey);
  EXPECT_EQ(batch.failed(), 0u);
}

// --- leases and locks ------------------------------------------------------------------------------------------------

TEST_F(NamespacePartsTest, ALeaseHasEntriesOfAllOfThem) {
  const Lease lease = *a.lease(10s);
  SetOptions leased;
  leased.lease = lease.id();
  ASSERT_TRUE(a.set("k", "1", leased));
  ASSERT_TRUE(store.set("k", "1", leased));
  ASSERT_TRUE(store.set("\xFFk", "1"));
  ASSERT_TRUE(b.set("K", "1"));
  EXPECT_EQ(*lease.attach("\xFFk"), true);
  EXPECT_EQ(*lease.attach(b, "K"), true);
  EXPECT_EQ(*lease.attach(b, "none"), false);
  EXPECT_EQ(*lease.attach("none"), false);
  EXPECT_EQ(lease.attach(Namespace(), "k").error(), (Error{Status::kInvalidArgument, Field::kName}));

  std::vector<std::string> keys;
  EXPECT_EQ(*lease.keys([&](std::string_view name, std::string_view key) { keys.push_back(std::string(name) + ":" + std::string(key)); }), 4u);
  std::sort(keys.begin(), keys.end());
  EXPECT_EQ(keys, (std::vector<std::string>{":k", ":\xFFk", "a:k", "b:k"}));
  keys.clear();
  EXPECT_EQ(*lease.keys([&](std::string_view key) { keys.emplace_back(key); }), 4u);
  std::sort(keys.begin(), keys.end());
  EXPECT_EQ(keys, (std::vector<std::string>{"k", "k", "k", "\xFFk"}));

  EXPECT_EQ(*b.lease_of(lease.id()).revoke(), true);
  EXPECT_EQ(value_of(a, "k"), std::nullopt);
  EXPECT_EQ(value_of(b, "k"), std::nullopt);
  EXPECT_EQ(value_of(store, "k"), std::nullopt);
  EXPECT_EQ(value_of(store, "\xFFk"), std::nullopt);
}

TEST_F(NamespacePartsTest, ALocksNameIsTheNamespacesOwn) {
  for (int i = 0; i != 3; ++i) ASSERT_TRUE(store.lock("x"));  // tokens of two names may be the same
  Lock mine = *a.lock("x", {.owner = "me"});
  Lock others = *store.lock("x"), folded = *b.lock("A//X");
  EXPECT_EQ(mine.name(), "x");
  EXPECT_EQ(folded.name(), "A//X");
  EXPECT_EQ(a.try_lock("x").error(), (Error{Status::kTimedOut, Field::kLock}));
  EXPECT_TRUE(b.try_lock("a/x"));
  EXPECT_EQ(a.lock_info("x")->owner.view(), "me");
  EXPECT_EQ(a.lock_info("x")->token, mine.token());
  EXPECT_TRUE(b.lock_info("x").missing());
  EXPECT_EQ(a.unlock("x", others.token()).error(), (Error{Status::kMismatch, Field::kToken}));
  EXPECT_TRUE(*mine.is_held());
  EXPECT_TRUE(mine.unlock());
  EXPECT_TRUE(a.lock_info("x").missing());
  EXPECT_TRUE(*others.is_held());
  const std::uint64_t token = folded.token();
  folded.release();
  EXPECT_TRUE(b.unlock("A//X", token));
}

TEST_F(NamespacePartsTest, WhoWaitsForALockIsWokenByItsEnd) {
  Lock first = *a.lock("x");
  std::thread other([&] {
    const Result<Lock> next = a.lock("x", {.wait = std::chrono::hours(1)});
    ASSERT_TRUE(next);
    EXPECT_GT(next->token(), 0u);
  });
  while (store.stats().watches == 0) std::this_thread::yield();
  EXPECT_TRUE(first.unlock());
  other.join();
}

TEST_F(NamespacePartsTest, AWriteDependsOnALockOfAnyOfThem) {
  const Error kFenced{Status::kMismatch, Field::kFence};
  for (int i = 0; i != 3; ++i) ASSERT_TRUE(store.lock("x"));  // tokens of two names may be the same
  Lock mine = *a.lock("x"), others = *store.lock("x");
  ASSERT_TRUE(a.set("k", "1", fenced(mine.fence())));
  ASSERT_TRUE(a.set("k", "2", fenced(others.fence())));
  ASSERT_TRUE(b.set("K", "3", fenced(mine.fence())));
  ASSERT_TRUE(store.set("k", "4", fenced(mine.fence())));
  EXPECT_EQ(value_of(b, "k"), "3");
  // Who has only name and token means the one of the namespace.
  ASSERT_TRUE(a.set("k", "5", fenced({"x", mine.token()})));
  EXPECT_EQ(a.set("k", "6", fenced({"x", others.token()})).error(), kFenced);
  EXPECT_EQ(store.set("k", "6", fenced({"x", mine.token()})).error(), kFenced);

  WriteBatch batch;
  batch.require_fence(mine.fence());
  batch.in(b).set("k", "7");
  ASSERT_TRUE(store.write(batch));
  const std::uint64_t token = mine.token();
  ASSERT_TRUE(mine.unlock());
  EXPECT_EQ(store.write(batch).status(), Status::kConflict);
  EXPECT_EQ(batch.failed(), 0u);
  EXPECT_EQ(a.set("k", "8", fenced({"x", token})).error(), kFenced);
  EXPECT_EQ(value_of(a, "k"), "5");
  EXPECT_EQ(value_of(b, "k"), "7");
}

// --- watches ---------------------------------------------------------------------------------------------------------

TEST_F(NamespacePartsTest, ASetOfWatchesIsForTheKeysOfOne) {
  WatchSet set = *WatchSet::open(b);
  const std::uint32_t key = *set.add_key("User/1"), prefix = *set.add_prefix("USER/"), glob = *set.add_glob("user/*"),
                      deep = *set.add_glob("user/*/name");
  ASSERT_TRUE(a.set("user/1", "a"));
  ASSERT_TRUE(store.set("user/1", "default"));
  ASSERT_TRUE(b.set("USER/1", "b"));
  ASSERT_TRUE(b.set("user/2/Name", "c"));
  ASSERT_TRUE(b.set("other", "d"));
  Change changes[8];
  ASSERT_EQ(*set.poll(changes), 2u);
  std::vector<std::uint32_t> of[2];
  std::string keys[2];
  for (int i = 0; i != 2; ++i) {
    set.for_each_filter(changes[i], [&](std::uint32_t filter) { of[i].push_back(filter); });
    std::sort(of[i].begin(), of[i].end());
    keys[i] = changes[i].key;
  }
  if (keys[0] != "user/1") std::swap(of[0], of[1]), std::swap(keys[0], keys[1]);  // no order between keys
  EXPECT_EQ(keys[0], "user/1");
  EXPECT_EQ(of[0], (std::vector<std::uint32_t>{key, prefix, glob}));
  EXPECT_EQ(keys[1], "user/2/name");
  EXPECT_EQ(of[1], (std::vector<std::uint32_t>{prefix, deep}));
}

TEST_F(NamespacePartsTest, ADispatcherCallsBackForTheKeysOfOne) {
  Dispatcher dispatcher = *Dispatcher::open(a, DispatchOn::kCaller);
  std::vector<std::string> seen;
  const auto note = [&](const Change& c) { seen.push_back(std::string(c.key) + "=" + std::string(c.value)); };
  const auto of_a = *dispatcher.on_prefix("k", note);
  const auto of_b = *dispatcher.add(*b.watch_prefix("k"), note);
  const auto marked = *dispatcher.on_key("\xFFk", note);
  ASSERT_TRUE(a.set("k1", "a"));
  ASSERT_TRUE(b.set("K1", "b"));
  ASSERT_TRUE(store.set("k1", "default"));
  ASSERT_TRUE(store.set("\xFFk", "default"));
  ASSERT_TRUE(a.set("\xFFk", "marked"));
  while (dispatcher.dispatch() != 0) {
  }
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(seen, (std::vector<std::string>{"k1=a", "k1=b", "\xFFk=marked"}));
}

TEST_F(NamespacePartsTest, TheDefaultOnesSetsTakeAnyKeyToo) {
  WatchSet set = *WatchSet::open(store);
  ASSERT_TRUE(set.add_key("\xFFk"));
  ASSERT_TRUE(store.set("\xFFk", "1"));
  ASSERT_TRUE(a.set("\xFFk", "2"));
  Change changes[8];
  ASSERT_EQ(*set.poll(changes), 1u);
  EXPECT_EQ(changes[0].key, "\xFFk");
  EXPECT_EQ(changes[0].value, "1");
}

}  // namespace
}  // namespace tern::test
