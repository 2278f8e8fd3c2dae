// Hierarchical keys: what their segments are, what is wrong with them, and how they are put right.
#include <tern/path.h>

#include <string>
#include <vector>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

using Names = std::vector<std::string>;

Names segments(std::string_view key, char separator = '.') {
  Names all;
  for (const std::string_view s : Path(key, separator)) all.emplace_back(s);
  return all;
}

TEST(PathTest, Segments) {
  EXPECT_EQ(segments("a.bc.d"), (Names{"a", "bc", "d"}));
  EXPECT_EQ(segments("a"), Names{"a"});
  EXPECT_EQ(segments(""), Names{""});
  EXPECT_EQ(segments(".a..b."), (Names{"", "a", "", "b", ""}));
  EXPECT_EQ(segments("a.b/c", '/'), (Names{"a.b", "c"}));
  EXPECT_EQ(segments(std::string_view("a\0b.c", 5)), (Names{std::string("a\0b", 3), "c"}));
  static_assert(Path("a.b.c").depth() == 3 && Path("a.b.c").segment(1) == "b" && Path("a.b.c").segment(3).empty());
}

TEST(PathTest, Family) {
  static_assert(Path("a.b.c").parent() == "a.b" && Path("a.b.c").name() == "c");
  static_assert(Path("a").parent().empty() && Path("a").name() == "a");
  static_assert(Path("a.b").is_below("a") && Path("a.b.c").is_below("a") && !Path("a").is_below("a"));
  static_assert(!Path("ab").is_below("a") && !Path("b.a").is_below("a") && !Path("a:b").is_below("a") && Path("a:b", ':').is_below("a"));
}

TEST(PathTest, WhatIsWrongAndWhere) {
  const auto wrong_at = [](std::string_view key, unsigned position, const PathRules& rules = {}) {
    EXPECT_EQ(check_path(key, rules), (Error{Status::kInvalidKey, Field::kKey, static_cast<std::uint16_t>(position)})) << key;
  };
  EXPECT_EQ(check_path("a.b.c"), Error{});
  EXPECT_EQ(check_path("a..b", {.separator = '/'}), Error{});
  wrong_at("", 0);
  wrong_at(".a", 0);
  wrong_at("a.", 1);
  wrong_at("a..b", 2);
  wrong_at("a\nb", 1);
  wrong_at("a.b\x7F", 3);
  wrong_at("a//b", 2, {.separator = '/'});
}

TEST(PathTest, Normalised) {
  const auto normal = [](std::string_view key, const PathRules& rules = {}) {
    std::string out(key.size(), '?');
    out.resize(normalise_path(key, out, rules));
    return out;
  };
  EXPECT_EQ(normal("a.b"), "a.b");
  EXPECT_EQ(normal("..a...b."), "a.b");
  EXPECT_EQ(normal("..."), "");
  EXPECT_EQ(normal("App.CONFIG.\xC3\x84", {.fold_case = true}), "app.config.\xC3\x84");
  EXPECT_EQ(normal("App"), "App");
  std::string own = "//A//B//";
  own.resize(normalise_path(own, own, {.separator = '/', .fold_case = true}));
  EXPECT_EQ(own, "a/b");
  char small[2] = {'x', 'x'};
  EXPECT_EQ(normalise_path("a.b", small), 3u);
  EXPECT_EQ(small[0], 'x');
}

TEST(PathTest, Joined) {
  char out[8];
  EXPECT_EQ(join_path({"a", "", "b", "c"}, out), 5u);
  EXPECT_EQ(std::string_view(out, 5), "a.b.c");
  EXPECT_EQ(join_path({}, out), 0u);
  EXPECT_EQ(join_path({"too", "long", "x"}, out, ':'), 10u);
  EXPECT_EQ(std::string_view(out, 5), "a.b.c");
}

}  // namespace
}  // namespace tern::test
