// The reads of one key.
#include <tern/store.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <string>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

class GetTest : public StoreTest {};

TEST_F(GetTest, MissingKeyIsAMissForEveryRead) {
  char buffer[8];
  EXPECT_TRUE(store.get("k").missing());
  EXPECT_TRUE(store.get("k", std::span<char>(buffer)).missing());
  EXPECT_TRUE(store.get(store.prefetch("k"), std::span<char>(buffer)).missing());
  EXPECT_TRUE(store.get_entry("k").missing());
  EXPECT_TRUE(store.hold("k").missing());
  EXPECT_TRUE(store.ttl("k").missing());
  EXPECT_TRUE(store.memory_usage("k").missing());
  EXPECT_TRUE(store.inspect("k").missing());
  bool called = false;
  EXPECT_TRUE(store.visit("k", [&](std::string_view) { called = true; }).missing());
  EXPECT_FALSE(called);
  const Result<bool> exists = store.exists("k");
  ASSERT_TRUE(exists);
  EXPECT_FALSE(*exists);
}

TEST_F(GetTest, EveryReadGivesTheValueThatWasSet) {
  ASSERT_TRUE(store.set("key", "value"));
  char buffer[8] = {};
  EXPECT_EQ(value_of(store, "key"), "value");
  Lookup<std::size_t> n = store.get("key", std::span<char>(buffer));
  ASSERT_TRUE(n);
  EXPECT_EQ(std::string_view(buffer, *n), "value");
  std::memset(buffer, 0, sizeof(buffer));
  n = store.get(store.prefetch("key"), std::span<char>(buffer));
  ASSERT_TRUE(n);
  EXPECT_EQ(std::string_view(buffer, *n), "value");
  std::array<std::byte, 8> bytes{};
  n = store.get("key", std::span<std::byte>(bytes));
  ASSERT_TRUE(n);
  EXPECT_EQ(std::memcmp(bytes.data(), "value", 5), 0);
  const Lookup<Entry> entry = store.get_entry("key");
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->value, "value");
  const Lookup<HeldValue> held = store.hold("key");
  ASSERT_TRUE(held);
  EXPECT_EQ(held->view(), "value");
  std::string seen;
  EXPECT_TRUE(store.visit("key", [&](std::string_view v) { seen = v; }));
  EXPECT_EQ(seen, "value");
  EXPECT_TRUE(*store.exists("key"));
}

TEST_F(GetTest, ASpanThatIsTooSmallLearnsTheSizeAndStaysAsItWas) {
  ASSERT_TRUE(store.set("k", "0123456789"));
  char buffer[9];
  std::memset(buffer, '#', sizeof(buffer));
  const Lookup<std::size_t> n = store.get("k", std::span<char>(buffer));
  ASSERT_TRUE(n);
  EXPECT_EQ(*n, 10u);
  EXPECT_EQ(std::string_view(buffer, sizeof(buffer)), "#########");
}

TEST_F(GetTest, NothingIsWrittenPastTheValue) {
  for (std::size_t size = 0; size <= 300; ++size) {
    const std::string value = pattern(size, static_cast<unsigned>(size));
    ASSERT_TRUE(store.set("k", value));
    std::vector<char> buffer(size + 64, '#');
    const Lookup<std::size_t> n = store.get("k", std::span<char>(buffer.data(), size));
    ASSERT_TRUE(n);
    ASSERT_EQ(*n, size);
    ASSERT_EQ(std::string_view(buffer.data(), size), value);
    for (std::size_t i = size; i < buffer.size(); ++i) ASSERT_EQ(buffer[i], '#') << size;
  }
}

TEST_F(GetTest, AnEmptySpanOnlyAsksForTheSize) {
  ASSERT_TRUE(store.set("k", "12345"));
  const Lookup<std::size_t> n = store.get("k", std::span<char>());
  ASSERT_TRUE(n);
  EXPECT_EQ(*n, 5u);
}

TEST_F(GetTest, AnEmptyValueIsFound) {
  ASSERT_TRUE(store.set("k", ""));
  EXPECT_EQ(value_of(store, "k"), "");
  const Lookup<std::size_t> n = store.get("k", std::span<char>());
  ASSERT_TRUE(n);
  EXPECT_EQ(*n, 0u);
  EXPECT_TRUE(*store.exists("k"));
  bool called = false;
  EXPECT_TRUE(store.visit("k", [&](std::string_view v) { called = v.empty(); }));
  EXPECT_TRUE(called);
}

TEST_F(GetTest, TheEntryCarriesTheVersionThatSetAnswered) {
  const Result<std::uint64_t> version = store.set("k", "v");
  ASSERT_TRUE(version);
  const Lookup<Entry> entry = store.get_entry("k");
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->version, *version);
  EXPECT_EQ(entry->ttl, std::nullopt);
}

TEST_F(GetTest, AnOwnedValueIsACopy) {
  const std::string longer = pattern(500);
  ASSERT_TRUE(store.set("short", "before"));
  ASSERT_TRUE(store.set("long", longer));
  const Lookup<Value> a = store.get("short");
  const Lookup<Value> b = store.get("long");
  ASSERT_TRUE(store.set("short", "after!"));
  ASSERT_TRUE(store.del("long"));
  EXPECT_EQ(a->view(), "before");
  EXPECT_EQ(b->view(), longer);
}

TEST_F(GetTest, KeysWithEmbeddedZeroesAreDifferentKeys) {
  const std::string_view keys[] = {std::string_view("a", 1),     std::string_view("a\0", 2),
                                   std::string_view("a\0\0", 3), std::string_view("\0a", 2),
                                   std::string_view("\0", 1),    std::string_view("a\0b", 3)};
  for (std::size_t i = 0; i < std::size(keys); ++i) {
    ASSERT_TRUE(store.set(keys[i], numbered("v", i)));
  }
  for (std::size_t i = 0; i < std::size(keys); ++i) {
    EXPECT_EQ(value_of(store, keys[i]), numbered("v", i));
  }
  EXPECT_EQ(store.stats().entries, std::size(keys));
}

TEST_F(GetTest, ValuesWithEmbeddedZeroesComeBackWhole) {
  const std::string value("\0a\0b\0", 5);
  ASSERT_TRUE(store.set("k", value));
  EXPECT_EQ(value_of(store, "k"), value);
}

TEST_F(GetTest, KeysNeedNoAlignmentAndNothingBehindThem) {
  // Each key ends at the end of its own allocation: a read past it is an error under ASan.
  for (std::size_t size = 1; size <= 130; ++size) {
    const std::string key = pattern(size, static_cast<unsigned>(size));
    const std::unique_ptr<char[]> tight(new char[size]);
    std::memcpy(tight.get(), key.data(), size);
    ASSERT_TRUE(store.set(std::string_view(tight.get(), size), key));
    ASSERT_EQ(value_of(store, std::string_view(tight.get(), size)), key);
  }
}

TEST_F(GetTest, ATokenOfABadKeyFailsInTheGet) {
  char buffer[8];
  EXPECT_EQ(store.get(store.prefetch(""), std::span<char>(buffer)).status(), Status::kInvalidKey);
  const std::string key(kKeyBytesMax + 1, 'k');
  EXPECT_EQ(store.get(store.prefetch(key), std::span<char>(buffer)).status(), Status::kTooLarge);
}

TEST_F(GetTest, ATokenOutlivesAWriteOfItsKeyAndGrowth) {
  ASSERT_TRUE(store.set("k", "old"));
  const Token token = store.prefetch("k");
  ASSERT_TRUE(store.set("k", "new"));
  for (unsigned i = 0; i < 5'000; ++i) ASSERT_TRUE(store.set(numbered("other", i), "x"));
  char buffer[8];
  const Lookup<std::size_t> n = store.get(token, std::span<char>(buffer));
  ASSERT_TRUE(n);
  EXPECT_EQ(std::string_view(buffer, *n), "new");
}

TEST_F(GetTest, TheBytesOfAVisitStayWhileItsOwnKeyIsReplacedBelowIt) {
  const std::string value = pattern(1'000);
  ASSERT_TRUE(store.set("k", value));
  const Lookup<bool> r = store.visit("k", [&](std::string_view bytes) {
    // Enough replacements of the same size class that the block would be reused, were it free.
    for (unsigned i = 0; i < 2'000; ++i) ASSERT_TRUE(store.set("k", pattern(1'000, i + 1)));
    ASSERT_TRUE(store.del("k"));
    for (unsigned i = 0; i < 500; ++i) {
      ASSERT_TRUE(store.set(numbered("other", i), pattern(1'000)));
    }
    EXPECT_EQ(bytes, value);
    EXPECT_EQ(value_of(store, "k"), std::nullopt);
  });
  EXPECT_TRUE(r.found());
}

TEST_F(GetTest, VisitsNest) {
  ASSERT_TRUE(store.set("a", "1"));
  ASSERT_TRUE(store.set("b", "2"));
  std::string seen;
  EXPECT_TRUE(store.visit("a", [&](std::string_view a) {
    EXPECT_TRUE(store.visit("b", [&](std::string_view b) {
      ASSERT_TRUE(store.set("a", "changed"));
      ASSERT_TRUE(store.del("b"));
      EXPECT_TRUE(store.visit("a", [&](std::string_view again) {
        seen = std::string(a) + std::string(b) + std::string(again);
      }));
    }));
  }));
  EXPECT_EQ(seen, "12changed");
}

TEST_F(GetTest, AVisitThatFillsTheStoreDoesNotKeepItsMemoryFromBeingReused) {
  // Writes below a visit retire far more than the budget: what they retire has to come back while
  // it runs.
  ASSERT_TRUE(store.set("k", "visited"));
  const Lookup<bool> r = store.visit("k", [&](std::string_view bytes) {
    const std::string value = pattern(4'000);
    for (unsigned i = 0; i < 16'000; ++i) {
      const Result<std::uint64_t> w = store.set("churn", value);
      ASSERT_TRUE(w) << status_name(w.status()) << " after " << i << " replacements";
    }
    EXPECT_EQ(bytes, "visited");
  });
  EXPECT_TRUE(r.found());
}

TEST_F(GetTest, ASessionAndTheStoreSeeTheSameKeys) {
  Result<Session> session = store.session();
  ASSERT_TRUE(session);
  ASSERT_TRUE(session->set("from session", "1"));
  ASSERT_TRUE(store.set("from store", "2"));
  EXPECT_EQ(value_of(store, "from session"), "1");
  EXPECT_EQ(value_of(*session, "from store"), "2");
  ASSERT_TRUE(*session->del("from store"));
  EXPECT_EQ(value_of(store, "from store"), std::nullopt);
}

}  // namespace
}  // namespace tern::test
