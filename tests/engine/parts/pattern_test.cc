// Globs: a table for each rule, glibc's fnmatch where the rules agree, a slow matcher everywhere else, and patterns
// that are made to take long.
#include <fnmatch.h>
#include <gtest/gtest.h>
#include <tern/pattern.h>

#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include "engine/pattern.h"
#include "tests/engine/parts/pattern_oracle.h"

namespace tern::test {
namespace {

using namespace std::string_view_literals;
using detail::PatternProgram;

struct Steps {
  std::uint64_t count = 0;
  void add(std::uint64_t n) noexcept { count += n; }
};

struct Case {
  std::string_view pattern;
  std::vector<std::string_view> matching;
  std::vector<std::string_view> others;
};

void expect_cases(const std::vector<Case>& cases, const PatternOptions& options = {}) {
  for (const Case& c : cases) {
    const Result<Pattern> p = Pattern::compile(c.pattern, options);
    ASSERT_TRUE(p.ok()) << c.pattern;
    for (const auto key : c.matching) EXPECT_TRUE(p->matches(key)) << c.pattern << " should match " << key;
    for (const auto key : c.others) EXPECT_FALSE(p->matches(key)) << c.pattern << " should not match " << key;
  }
}

TEST(PatternTest, OtherBytesStandForThemselves) {
  expect_cases({
      {"", {""}, {"a", "."}},
      {"a", {"a"}, {"", "b", "aa", "A"}},
      {"app.port", {"app.port"}, {"app.por", "app.ports", "app_port", "xapp.port"}},
      {"]", {"]"}, {""}},
      {"a,b", {"a,b"}, {"a", "b"}},
      {"-!^", {"-!^"}, {}},
      {"a\0b"sv, {"a\0b"sv}, {"a", "ab", "a\0"sv, "a\0c"sv}},
      {"\xff\x80", {"\xff\x80"}, {"\xff"}},
  });
}

TEST(PatternTest, AStarStaysInItsSegment) {
  expect_cases({
      {"*", {"", "a", "abc", "\0"sv}, {".", "a.b", "a."}},
      {"app.*.port", {"app.web.port", "app..port"}, {"app.port", "app.a.b.port", "app.web.ports"}},
      {"a*c", {"ac", "abc", "abbbc", "acc"}, {"a", "ab", "a.c", "abcd"}},
      {"*.*", {".", "a.b", "a.", ".b"}, {"a", "a.b.c"}},
      {"*a*b*", {"ab", "xaybz", "aab"}, {"ba", "a", "a.b"}},
      {"*aab", {"aab", "aaab", "aabaab"}, {"aaba", "ab"}},
  });
}

TEST(PatternTest, TwoStarsCrossSegments) {
  expect_cases({
      {"**", {"", "a", "a.b.c", "."}, {}},
      {"app.config.**", {"app.config.", "app.config.a", "app.config.a.b"}, {"app.config", "app.configs.a"}},
      {"**.database.**", {".database.", "a.database.b", "a.b.database.c.d"}, {"database.b", "a.database", "database"}},
      {"**.port", {".port", "a.b.port"}, {"port", "a.ports"}},
      {"a***b", {"ab", "a.b", "a.x.b"}, {"a"}},
      {"a**b*c", {"abc", "a.b.bxc", "ax.byc"}, {"ab.c", "a.b"}},
      {"*.**", {"a.", "a.b.c", "."}, {"a", ""}},
  });
}

TEST(PatternTest, AQuestionMarkIsOneByteOfASegment) {
  expect_cases({
      {"?", {"a", "\0"sv, "\xff"}, {"", "ab", "."}},
      {"a?c", {"abc", "a?c"}, {"ac", "a.c", "abbc"}},
      {"??", {"ab"}, {"a", "abc", "a."}},
      {"\\?", {"?"}, {"a"}},
  });
}

TEST(PatternTest, ASetIsOneOfItsBytes) {
  expect_cases({
      {"[abc]", {"a", "b", "c"}, {"d", "", "ab"}},
      {"[a-c]x", {"ax", "bx", "cx"}, {"dx", "x", "-x"}},
      {"[!a]", {"b", "\0"sv, "\xff", "!"}, {"a", "", "."}},
      {"[^a-c]", {"d", "^"}, {"a", "b", "."}},
      {"[a^!]", {"a", "^", "!"}, {"b"}},
      {"[]a]", {"]", "a"}, {"b", "[]a]"}},
      {"[!]a]", {"b"}, {"]", "a"}},
      {"[-a]", {"-", "a"}, {"b"}},
      {"[a-]", {"-", "a"}, {"b"}},
      {"[a\\-c]", {"a", "-", "c"}, {"b"}},
      {"[\\]\\\\]", {"]", "\\"}, {"["}},
      {"[A-\\]]", {"A", "Z", "[", "]"}, {"a"}},
      {"[*?{},[]", {"*", "?", "{", "}", ",", "["}, {"a"}},
      {"[\x80-\xff]", {"\x80", "\xff", "\xc0"}, {"\x7f"}},
      {"[.a]", {"a"}, {"."}},
      {"x[+-/]y", {"x+y", "x-y", "x/y", "x,y"}, {"x.y"}},
  });
}

TEST(PatternTest, BracesHoldAlternatives) {
  expect_cases({
      {"{a,b}", {"a", "b"}, {"", "ab", "c", "{a,b}"}},
      {"x{a,bc}y", {"xay", "xbcy"}, {"xy", "xaby", "xabcy"}},
      {"{a,}", {"a", ""}, {"aa"}},
      {"{}", {""}, {"{}"}},
      {"{a}", {"a"}, {""}},
      {"{,}x", {"x"}, {""}},
      {"{a,{b,c{d,e}}}f", {"af", "bf", "cdf", "cef"}, {"cf", "f", "df"}},
      {"{a.*,b.**}.z", {"a.x.z", "b.x.y.z", "b..z"}, {"a.x.y.z", "a.z"}},
      {"{*,x}y", {"y", "xy", "ay"}, {"a.y"}},
      {"*{a,b}*", {"a", "xby"}, {"x", "a.b"}},
      {"{a,b}{c,d}{e,f}", {"ace", "bdf", "bce"}, {"ac", "cae"}},
      {"{[,}],x}", {",", "}", "x"}, {"]"}},
      {"{\\,,\\}}", {",", "}"}, {""}},
      {"*{*,**}x", {"x", "a.x"}, {"a."}},
      {"{*,a}{*,b}c", {"c", "xc", "abc"}, {".c"}},
  });
}

TEST(PatternTest, ABackslashTakesAwayAMeaning) {
  expect_cases({
      {"\\*", {"*"}, {"a", "\\*", ""}},
      {"\\{a,b\\}", {"{a,b}"}, {"a"}},
      {"items\\[3]", {"items[3]"}, {"items3"}},
      {"\\\\", {"\\"}, {"\\\\"}},
      {"\\a", {"a"}, {"\\a"}},
  });
}

TEST(PatternTest, TheSeparatorIsAnOption) {
  expect_cases({{"a/*/c", {"a/b/c", "a/b.x/c"}, {"a/b/b/c"}}, {"?", {"."}, {"/"}}}, {.separator = '/'});
  expect_cases({{"a:*", {"a:b.c/d"}, {"a:b:c"}}, {"[!x]", {"."}, {":"}}}, {.separator = ':'});
  expect_cases({{"*", {"a.b"}, {"a\0b"sv}}}, {.separator = '\0'});
}

TEST(PatternTest, AsciiCaseIsFoldedIfAsked) {
  const PatternOptions fold{.fold_case = true};
  expect_cases({{"aBc", {"abc", "ABC", "AbC"}, {"ab"}},
                {"[a-c]", {"a", "B"}, {"d", "D"}},
                {"[!a]", {"b"}, {"a", "A"}},
                {"[Z-a]", {"z", "Z", "a", "A", "_"}, {"b"}},
                {"\\X", {"x", "X"}, {}},
                {"\xc4", {"\xc4"}, {"\xe4"}}},
               fold);
}

TEST(PatternTest, AMalformedPatternNamesThePosition) {
  const std::vector<std::pair<std::string_view, unsigned>> cases = {
      {"[", 0},       {"ab[c", 2},     {"a[]", 1},     {"a[!]", 1},   {"{", 0},        {"a{b,{c}", 1}, {"a{b,{c", 4},
      {"}", 0},       {"a{b}}", 4},    {"\\", 0},      {"abc\\", 3},  {"[a\\", 2},     {"[z-a]", 1},   {"x[ab-\\", 5},
      {"x[9-0]", 2},  {"[[:alpha:]]", 1}, {"[a[=b]", 2}, {"[[.]", 1}, {"{[}", 1},      {"{a,[b}", 3},  {"x[b-\\]]", 2},
  };
  for (const auto& [text, position] : cases) {
    const Result<Pattern> p = Pattern::compile(text);
    EXPECT_EQ(p.error(), (Error{Status::kInvalidArgument, Field::kPattern, static_cast<std::uint16_t>(position)}))
        << text << " at " << p.error().position;
  }
}

TEST(PatternTest, ItsLengthIsBounded) {
  const std::string longest(Pattern::kBytesMax, 'a');
  const Result<Pattern> p = Pattern::compile(longest);
  ASSERT_TRUE(p.ok());
  EXPECT_TRUE(p->matches(longest));
  EXPECT_FALSE(p->matches(std::string_view(longest).substr(1)));
  EXPECT_EQ(Pattern::compile(longest + "a").error(), (Error{Status::kTooLarge, Field::kPattern}));
  const std::string questions(Pattern::kBytesMax, '?');
  EXPECT_TRUE(Pattern::compile(questions)->matches(longest));
  EXPECT_FALSE(Pattern::compile(questions)->matches(longest + "a"));
}

TEST(PatternTest, ASeparatorWithAnotherMeaningIsRefused) {
  for (const char c : "*?[]{},\\!^-azAZ"sv) {
    EXPECT_EQ(Pattern::compile("a", {.separator = c}).error(), (Error{Status::kInvalidArgument, Field::kSeparator})) << c;
  }
}

TEST(PatternTest, TheLiteralStartIsWhatAllMatchesBeginWith) {
  const auto start = [](std::string_view text, bool fold = false) {
    return std::string(Pattern::compile(text, {.fold_case = fold})->literal_start());
  };
  EXPECT_EQ(start("app.*.port"), "app.");
  EXPECT_EQ(start("app.\\*[x]y?"), "app.*xy");
  EXPECT_EQ(start("a{b}c*"), "abc");
  EXPECT_EQ(start("a{b,c}"), "a");
  EXPECT_EQ(start("ab{,c}"), "ab");
  EXPECT_EQ(start("*"), "");
  EXPECT_EQ(start("{}x"), "x");
  EXPECT_EQ(start("1.2-Ab", true), "1.2-");
  EXPECT_TRUE(Pattern::compile("a{b}c")->is_literal());
  EXPECT_TRUE(Pattern::compile("")->is_literal());
  EXPECT_FALSE(Pattern::compile("ab{,c}")->is_literal());
  EXPECT_FALSE(Pattern::compile("ab*")->is_literal());
  EXPECT_FALSE(Pattern::compile("a", {.fold_case = true})->is_literal());
}

TEST(PatternTest, WithoutAProgramNothingMatches) {
  Pattern none;
  EXPECT_FALSE(none.matches(""));
  EXPECT_TRUE(none.literal_start().empty());
  Pattern some = std::move(*Pattern::compile("a*"));
  Pattern moved = std::move(some);
  EXPECT_TRUE(moved.matches("ab"));
  EXPECT_FALSE(some.matches("ab"));
  moved = std::move(*Pattern::compile("b*"));
  EXPECT_TRUE(moved.matches("b"));
  EXPECT_FALSE(moved.matches("ab"));
}

// --- oracles -----------------------------------------------------------------------------------------------------

std::string repeated(std::string_view part, std::size_t bytes) {
  std::string all;
  while (all.size() + part.size() <= bytes) all += part;
  return all;
}

std::string text_of(std::mt19937_64& random, std::string_view alphabet, std::size_t size_max) {
  std::string text(random() % (size_max + 1), '\0');
  for (char& c : text) c = alphabet[random() % alphabet.size()];
  return text;
}

// No **, no braces, no sets with a separator: there fnmatch with FNM_PATHNAME says the same.
TEST(PatternOracleTest, AgreesWithFnmatch) {
  std::mt19937_64 random(7);
  unsigned matched = 0;
  for (int n = 0; n != 200'000; ++n) {
    std::string text;
    while (text.size() < random() % 10) {
      constexpr std::string_view kElements[] = {"a", "b", "/", "*", "?", "[ab]", "[!a]", "[a-c]", "\\*", "\\a", "a", "b", "/"};
      const std::string_view e = kElements[random() % std::size(kElements)];
      if (e == "*" && !text.empty() && text.back() == '*') continue;
      text += e;
    }
    const std::string key = text_of(random, "aabbcd/*", 8);
    const Result<Pattern> p = Pattern::compile(text, {.separator = '/'});
    ASSERT_TRUE(p.ok()) << text;
    const bool wanted = fnmatch(text.c_str(), key.c_str(), FNM_PATHNAME) == 0;
    ASSERT_EQ(p->matches(key), wanted) << text << " with " << key;
    matched += wanted;
  }
  EXPECT_GT(matched, 2'000u);
}

// Patterns of up to some hundred elements, so that several words are used too.
TEST(PatternOracleTest, AgreesWithTheSlowMatcher) {
  std::mt19937_64 random(11);
  unsigned matched = 0;
  unsigned refused = 0;
  unsigned wide = 0;
  for (int n = 0; n != 60'000; ++n) {
    const PatternOptions options{.separator = n % 2 == 0 ? '.' : '/', .fold_case = n % 3 == 0};
    std::string text = text_of(random, n % 5 == 0 ? "ab.*{},[]\\!-?A"sv : "aab..**?{},,"sv, 16);
    // Behind some sixty others the elements lie across words.
    const std::size_t before = n % 7 == 0 ? 50 + random() % 20 : 0;
    for (std::size_t i = 0; i != before; ++i) text.insert(0, "[ab]");
    const PatternOracle oracle(text, options);
    const Result<Pattern> p = Pattern::compile(text, options);
    if (oracle.gave_up()) continue;
    ASSERT_EQ(p.ok(), !oracle.error()) << text;
    if (!p.ok()) {
      ASSERT_EQ(p.error().position, *oracle.error()) << text;
      ++refused;
      continue;
    }
    wide += before != 0;
    for (int k = 0; k != 4; ++k) {
      const std::string key = repeated("ab", before / 2 * 2) + std::string(before % 2, 'b') + text_of(random, "aabAB.", 8);
      const bool wanted = oracle.matches(key);
      ASSERT_EQ(p->matches(key), wanted) << text << " with " << key;
      ASSERT_TRUE(!wanted || key.starts_with(p->literal_start())) << text;
      matched += wanted;
    }
  }
  EXPECT_GT(matched, 4'000u);
  EXPECT_GT(refused, 1'000u);
  EXPECT_GT(wide, 1'000u);
}

RC_GTEST_PROP(PatternOracleTest, AnyPatternOnAnyKey, ()) {
  const auto element = rc::gen::elementOf(
      std::vector<std::string>{"a", "b", ".", "*", "**", "?", "[ab]", "[!a]", "{", "}", ",", "\\*", std::string(1, '\0'), "A"});
  std::string text;
  for (const auto& e : *rc::gen::container<std::vector<std::string>>(element)) text += e;
  const auto key = *rc::gen::container<std::string>(rc::gen::elementOf(std::string("aabbA.*\0", 8)));
  const PatternOracle oracle(text);
  RC_PRE(!oracle.gave_up() && text.size() <= Pattern::kBytesMax);
  const Result<Pattern> p = Pattern::compile(text);
  RC_ASSERT(p.ok() == !oracle.error());
  if (p.ok()) {
    RC_ASSERT(p->matches(key) == oracle.matches(key));
  } else {
    RC_ASSERT(p.error().position == *oracle.error());
  }
}

// --- bombs -------------------------------------------------------------------------------------------------------

TEST(PatternBombTest, StepsGrowWithTheKeyAlone) {
  const std::vector<std::string> bombs = {
      repeated("a*", 1'000) + "b",
      repeated("**a", 1'000) + "b",
      repeated("{a,aa}", 1'000) + "b",
      repeated("{a,*}", 1'000) + "b",
      repeated("{*,**,a*}", 1'000) + "b",
      repeated("{a,{a,", 500) + repeated("}}", 166) + "b",
      std::string(500, '{') + "a" + std::string(500, '}') + "*b",
      std::string(200, '{') + "a*" + repeated(",*a}", 800) + "b",
      repeated("*?", 1'000) + "b",
      repeated("{,a}", 1'000) + "b",
  };
  for (const std::string& text : bombs) {
    Error error;
    PatternProgram* p = PatternProgram::compile(text, {}, error);
    ASSERT_NE(p, nullptr) << text << " at " << error.position;
    std::uint64_t per_byte = 0;
    for (const std::size_t size : {std::size_t{4'096}, std::size_t{8'192}, std::size_t{65'527}}) {
      Steps steps;
      EXPECT_FALSE(p->matches(std::string(size, 'a'), steps)) << text;
      EXPECT_LE(steps.count, size * p->words() * (1 + p->branching())) << text;
      EXPECT_LE(p->words() * (1 + p->branching()), 17u * 1'025) << text;
      if (per_byte == 0) per_byte = steps.count / size + 1;
      EXPECT_LE(steps.count, per_byte * size) << text;
    }
    PatternProgram::destroy(p);
  }
}

TEST(PatternBombTest, BracesAddUpAndDontMultiply) {
  Error error;
  // 2^200 sequences, were they multiplied out.
  PatternProgram* p = PatternProgram::compile(repeated("{a,b}", 1'000), {}, error);
  ASSERT_NE(p, nullptr);
  EXPECT_LE(p->words(), 7u);
  EXPECT_TRUE(p->matches(repeated("ab", 200)));
  EXPECT_FALSE(p->matches(repeated("ab", 198) + "ac"));
  PatternProgram::destroy(p);
}

}  // namespace
}  // namespace tern::test
