// Numbers kept as decimal text, and append.
#include <tern/store.h>

#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

class NumberTest : public StoreTest {};

constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kLeast = std::numeric_limits<std::int64_t>::min();

TEST_F(NumberTest, AMissingKeyCountsAsInitial) {
  EXPECT_EQ(*store.increment("a"), 1);
  EXPECT_EQ(value_of(store, "a"), "1");
  EXPECT_EQ(*store.increment("b", 5, 100), 105);
  EXPECT_EQ(value_of(store, "b"), "105");
  EXPECT_EQ(*store.increment("b", 5, 100), 110);
}

TEST_F(NumberTest, AnExpiredKeyCountsAsInitialAndLosesItsDeadline) {
  ASSERT_TRUE(store.set("k", "41", {.ttl = 5ms}));
  clock.advance(5ms);
  EXPECT_EQ(*store.increment("k", 1, 7), 8);
  EXPECT_EQ(*store.ttl("k"), std::nullopt);
}

TEST_F(NumberTest, DecimalTextIsANumber) {
  ASSERT_TRUE(store.set("k", "41"));
  EXPECT_EQ(*store.increment("k"), 42);
  ASSERT_TRUE(store.set("k", "-41"));
  EXPECT_EQ(*store.increment("k"), -40);
  ASSERT_TRUE(store.set("k", "0"));
  EXPECT_EQ(*store.increment("k", -1), -1);
  EXPECT_EQ(value_of(store, "k"), "-1");
  EXPECT_EQ(*store.increment("k", 0), -1);
}

TEST_F(NumberTest, TheTextChangesLengthWithTheNumber) {
  ASSERT_TRUE(store.set("k", "9"));
  EXPECT_EQ(*store.increment("k", 1), 10);
  EXPECT_EQ(value_of(store, "k"), "10");
  EXPECT_EQ(*store.increment("k", -11), -1);
  EXPECT_EQ(value_of(store, "k"), "-1");
  EXPECT_EQ(*store.increment("k", 1'000'000'001), 1'000'000'000);
  EXPECT_EQ(value_of(store, "k"), "1000000000");
}

TEST_F(NumberTest, OverflowAnswersOutOfRangeAndChangesNothing) {
  const auto unchanged = [&](const std::string& text, std::int64_t delta) {
    ASSERT_TRUE(store.set("k", text));
    const std::uint64_t version = store.get_entry("k")->version;
    EXPECT_EQ(store.increment("k", delta).status(), Status::kOutOfRange) << text << " " << delta;
    EXPECT_EQ(value_of(store, "k"), text);
    EXPECT_EQ(store.get_entry("k")->version, version);
  };
  unchanged(std::to_string(kMost), 1);
  unchanged(std::to_string(kMost - 1), 2);
  unchanged(std::to_string(kLeast), -1);
  unchanged("1", kMost);
  unchanged("-2", kLeast);
  unchanged(std::to_string(kLeast), kLeast);
  unchanged(std::to_string(kMost), kMost);
}

TEST_F(NumberTest, TheLimitsThemselvesAreReached) {
  ASSERT_TRUE(store.set("k", std::to_string(kMost - 1)));
  EXPECT_EQ(*store.increment("k"), kMost);
  EXPECT_EQ(value_of(store, "k"), "9223372036854775807");
  EXPECT_EQ(*store.increment("k", kLeast), -1);
  ASSERT_TRUE(store.set("k", std::to_string(kLeast + 1)));
  EXPECT_EQ(*store.increment("k", -1), kLeast);
  EXPECT_EQ(value_of(store, "k"), "-9223372036854775808");
  EXPECT_EQ(*store.increment("k", kMost), -1);
  EXPECT_EQ(*store.increment("least", kLeast), kLeast);
  EXPECT_EQ(*store.increment("most", 0, kMost), kMost);
}

TEST_F(NumberTest, InitialPlusDeltaMayOverflowToo) {
  EXPECT_EQ(store.increment("k", 1, kMost).status(), Status::kOutOfRange);
  EXPECT_EQ(store.increment("k", -1, kLeast).status(), Status::kOutOfRange);
  EXPECT_EQ(value_of(store, "k"), std::nullopt);
}

TEST_F(NumberTest, WhatIsNoNumberIsTheWrongType) {
  const std::string_view texts[] = {"",
                                    " ",
                                    "x",
                                    "1x",
                                    "x1",
                                    "1 ",
                                    " 1",
                                    "1.5",
                                    "0x1",
                                    "1e3",
                                    "--1",
                                    "-",
                                    "+",
                                    "1-",
                                    "1,0",
                                    std::string_view("1\0", 2),
                                    "99999999999999999999x",
                                    "-99999999999999999999 "};
  for (const std::string_view text : texts) {
    ASSERT_TRUE(store.set("k", text));
    EXPECT_EQ(store.increment("k").status(), Status::kWrongType) << "'" << text << "'";
    EXPECT_EQ(value_of(store, "k"), text);
  }
  ASSERT_TRUE(store.set("k", std::string(5'000, '7')));
  EXPECT_FALSE(store.increment("k"));
  EXPECT_EQ(value_of(store, "k"), std::string(5'000, '7'));
}

TEST_F(NumberTest, ATextPastTheTypeIsRefused) {
  for (const char* text : {"9223372036854775808", "-9223372036854775809", "18446744073709551616",
                           "99999999999999999999999"}) {
    ASSERT_TRUE(store.set("k", text));
    const Result<std::int64_t> r = store.increment("k", 0);
    EXPECT_TRUE(r.status() == Status::kWrongType || r.status() == Status::kOutOfRange) << text;
    EXPECT_EQ(value_of(store, "k"), text);
  }
}

TEST_F(NumberTest, IncrementKeepsTheLifetime) {
  ASSERT_TRUE(store.set("k", "1", {.ttl = 100ms}));
  clock.advance(30ms);
  ASSERT_TRUE(store.increment("k"));
  EXPECT_EQ(*store.ttl("k"), 70ms);
  ASSERT_TRUE(store.increment_float("k", 0.5));
  EXPECT_EQ(*store.ttl("k"), 70ms);
  clock.advance(70ms);
  EXPECT_EQ(value_of(store, "k"), std::nullopt);
}

// The text that the store must write: the shortest that reads back equal.
std::string shortest(double d) {
  char buffer[64];
  const std::to_chars_result r = std::to_chars(buffer, buffer + sizeof(buffer), d);
  return std::string(buffer, r.ptr);
}

double read_back(const std::string& text) {
  double d = 0;
  const std::from_chars_result r = std::from_chars(text.data(), text.data() + text.size(), d);
  EXPECT_EQ(r.ptr, text.data() + text.size()) << text;
  return d;
}

TEST_F(NumberTest, FloatsAreWrittenInTheShortestFormThatReadsBackEqual) {
  const double sums[] = {0.1 + 0.2, 1.0 / 3.0, 1e300, 5e-324, 123456789.125,          2.5,    -0.75,
                         1e21,      1e-7,      3.0,   100.0,  1.7976931348623157e308, -5e-324};
  for (const double sum : sums) {
    ASSERT_TRUE(store.del("k"));
    const Result<double> r = store.increment_float("k", sum);
    ASSERT_TRUE(r) << sum;
    EXPECT_EQ(*r, sum);
    const std::string text = value_of(store, "k").value_or("");
    EXPECT_EQ(read_back(text), sum) << text;
    EXPECT_EQ(text.size(), shortest(sum).size()) << text << " for " << shortest(sum);
  }
}

TEST_F(NumberTest, FloatSumsAreThoseOfTheProcessor) {
  ASSERT_TRUE(store.set("k", "0.1"));
  EXPECT_EQ(*store.increment_float("k", 0.2), 0.1 + 0.2);
  EXPECT_EQ(value_of(store, "k"), "0.30000000000000004");
  double sum = 0.1 + 0.2;
  for (int i = 0; i < 200; ++i) {
    const double delta = std::sin(i) * std::pow(10.0, i % 30 - 15);
    sum += delta;
    const Result<double> r = store.increment_float("k", delta);
    ASSERT_TRUE(r);
    ASSERT_EQ(*r, sum) << i;
  }
}

TEST_F(NumberTest, FloatsReadIntegersAndExponents) {
  ASSERT_TRUE(store.set("k", "10"));
  EXPECT_EQ(*store.increment_float("k", 0.5), 10.5);
  ASSERT_TRUE(store.set("k", "-1e2"));
  EXPECT_EQ(*store.increment_float("k", 0.5), -99.5);
  EXPECT_EQ(*store.increment_float("missing", 0.25, 2), 2.25);
}

TEST_F(NumberTest, FloatsThatLeaveTheRangeChangeNothing) {
  const double most = std::numeric_limits<double>::max();
  const double infinity = std::numeric_limits<double>::infinity();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  ASSERT_TRUE(store.set("k", shortest(most)));
  EXPECT_EQ(store.increment_float("k", most).status(), Status::kOutOfRange);
  EXPECT_EQ(value_of(store, "k"), shortest(most));
  ASSERT_TRUE(store.set("k", "1"));
  for (const double delta : {infinity, -infinity, nan}) {
    EXPECT_EQ(store.increment_float("k", delta).status(), Status::kOutOfRange);
    EXPECT_EQ(store.increment_float("missing", 1, delta).status(), Status::kOutOfRange);
  }
  EXPECT_EQ(value_of(store, "k"), "1");
  EXPECT_EQ(value_of(store, "missing"), std::nullopt);
}

TEST_F(NumberTest, WhatIsNoFloatIsRefused) {
  for (const std::string_view text :
       {std::string_view(""), std::string_view(" 1"), std::string_view("1 "),
        std::string_view("1.5x"), std::string_view("."), std::string_view("e5"),
        std::string_view("1.5\0", 4), std::string_view("0x1p3"), std::string_view("1e999x")}) {
    ASSERT_TRUE(store.set("k", text));
    EXPECT_EQ(store.increment_float("k", 1).status(), Status::kWrongType) << "'" << text << "'";
    EXPECT_EQ(value_of(store, "k"), text);
  }
  for (const char* text : {"nan", "inf", "-inf", "infinity", "1e999", "-1e999"}) {
    ASSERT_TRUE(store.set("k", text));
    const Result<double> r = store.increment_float("k", 1);
    EXPECT_TRUE(r.status() == Status::kWrongType || r.status() == Status::kOutOfRange) << text;
    EXPECT_EQ(value_of(store, "k"), text);
  }
}

TEST_F(NumberTest, AppendCreatesAndExtends) {
  EXPECT_EQ(*store.append("k", "ab"), 2u);
  EXPECT_EQ(*store.append("k", "cde"), 5u);
  EXPECT_EQ(*store.append("k", ""), 5u);
  EXPECT_EQ(value_of(store, "k"), "abcde");
  EXPECT_EQ(*store.append("empty", ""), 0u);
  EXPECT_EQ(value_of(store, "empty"), "");
}

TEST_F(NumberTest, AppendGrowsThroughEverySize) {
  std::string expected;
  for (unsigned i = 0; i < 400; ++i) {
    const std::string part = pattern(i % 37, i);
    expected += part;
    ASSERT_EQ(*store.append("k", part), expected.size());
    ASSERT_EQ(value_of(store, "k"), expected);
  }
}

TEST_F(NumberTest, AppendMayTakeItsOwnValue) {
  ASSERT_TRUE(store.set("k", "ab"));
  for (int i = 0; i < 12; ++i) {
    const Lookup<HeldValue> held = store.hold("k");
    ASSERT_TRUE(held);
    ASSERT_TRUE(store.append("k", held->view()));
  }
  EXPECT_EQ(value_of(store, "k")->size(), std::size_t{2} << 12);
}

TEST_F(NumberTest, AppendPastTheLimitChangesNothing) {
  Options options = small_options(&clock);
  options.value_bytes_max = 1'000;
  const Store limited = open_or_fail(options);
  EXPECT_EQ(*limited.append("k", std::string(999, 'x')), 999u);
  const Result<std::size_t> r = limited.append("k", "yy");
  EXPECT_EQ(r.error(), (Error{Status::kTooLarge, Field::kValue}));
  EXPECT_EQ(value_of(limited, "k"), std::string(999, 'x'));
  EXPECT_EQ(*limited.append("k", "y"), 1'000u);
  EXPECT_EQ(limited.append("k", "y").status(), Status::kTooLarge);
  EXPECT_EQ(limited.append("new", std::string(1'001, 'x')).status(), Status::kTooLarge);
  EXPECT_EQ(value_of(limited, "new"), std::nullopt);
}

TEST_F(NumberTest, AppendKeepsTheLifetime) {
  ASSERT_TRUE(store.set("k", "1", {.ttl = 100ms}));
  clock.advance(30ms);
  ASSERT_TRUE(store.append("k", "2"));
  EXPECT_EQ(*store.ttl("k"), 70ms);
}

TEST_F(NumberTest, AppendToAnExpiredKeyBeginsAnew) {
  ASSERT_TRUE(store.set("k", "old", {.ttl = 5ms}));
  clock.advance(5ms);
  EXPECT_EQ(*store.append("k", "new"), 3u);
  EXPECT_EQ(value_of(store, "k"), "new");
  EXPECT_EQ(*store.ttl("k"), std::nullopt);
}

}  // namespace
}  // namespace tern::test
