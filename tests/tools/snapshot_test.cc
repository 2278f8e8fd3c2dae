// `tern snapshot`: what goes out as text comes back to the byte, and what is no such text is an error that says where.
#include "tools/snapshot.h"

#include <sys/stat.h>
#include <tern/lock.h>
#include <tern/namespace.h>

#include <fstream>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "tests/persist/snapshot_fixture.h"
#include "tools/text_entries.h"

namespace tern::tools {
namespace {

using test::pattern;

TextEntries anything() {
  TextEntries entries;
  entries["plain"] = {"value", {}, 0, true};
  entries["empty"] = {"", {}, 0, true};
  entries["with \"quotes\", commas,\nlines\r\nand \\"] = {"a,\"b\"\r\nc\n\"", {}, 0, true};
  entries[std::string("zero\0inside", 11)] = {std::string("\0\0\0", 3), {}, 0, true};
  entries["not utf-8 \xff\xc0"] = {pattern(1'000, 7), {}, 0, true};
  entries["\xc3\xa9t\xc3\xa9"] = {"\xf0\x9f\x90\xa6", {}, 0, true};
  entries["mortal"] = {"m", 4'000'000'000'000, 0, true};
  entries["idle"] = {"i", {}, 127, true};
  entries["kept"] = {"k", {}, 0, false};
  entries["key"] = {"\"", {}, 0, true};
  entries["\""] = {",", {}, 0, true};
  entries["one"] = {pattern(1), {}, 0, true};
  entries["two"] = {pattern(2), {}, 0, true};
  entries["tagged"] = {"t", {}, 0, true, {"red"}};
  entries["tagged twice"] = {"t", {}, 0, true, {"a,b", "\"quoted\"\r\nline", "red"}};
  entries["tagged in bytes"] = {"t", {}, 0, false, {std::string("\0\xff", 2), "red"}};
  entries["long"] = {pattern(300'000), {}, 0, true};
  return entries;
}

// With keys that are others' in other namespaces, and such as look like a stored key.
TextEntries with_namespaces() {
  TextEntries entries = anything();
  entries["\xff\x01\x02key"] = {"marked", {}, 0, true};
  entries[{"users", ""}] = {namespace_text({'/', true, false, true, 25}), {}, 0, true};
  entries[{"users", "one"}] = {"of users", 4'000'000'000'000, 0, false, {"red"}};
  entries[{"users", "17/name"}] = {"ada", {}, 0, true};
  entries[{"users", "\xff\xff"}] = {"marked", {}, 0, true};
  entries[{"empty", ""}] = {namespace_text({}), {}, 0, true};
  entries[{"\xffodd, \"name\"", ""}] = {namespace_text({' ', false, true, false, 0}), {}, 0, true};
  entries[{"\xffodd, \"name\"", "one"}] = {"of the odd one", {}, 127, true};
  return entries;
}

TextEntries with_metadata() {
  TextEntries entries = with_namespaces();
  entries["about"] = {"a", {}, 0, true, {}, "text, \"quoted\""};
  entries["about in bytes"] = {"b", 4'000'000'000'000, 0, true, {"red"}, pattern(4'096, 3)};
  entries[{"users", "about"}] = {"u", {}, 127, false, {}, std::string("\0", 1)};
  return entries;
}

TextEntries tree() {
  TextEntries entries;
  for (const char* key : {"a", "app.config.debug", "app.config.level", "app.name", ".first", "last.", "two..dots", "b.c.d.e"}) {
    entries[key] = {std::string("value of ") + key, {}, 0, true};
  }
  entries["empty"] = {"", {}, 0, true};
  return entries;
}

template <class Read>
TextEntries taken(const std::string& text, Read read) {
  std::istringstream in(text);
  TextEntries entries;
  read(in, [&](TextKey key, TextEntry e) { entries[std::move(key)] = std::move(e); });
  return entries;
}
TextEntries from_ndjson(const std::string& text) {
  return taken(text, [](std::istream& in, const TakeEntry& take) { read_ndjson(in, ".", take); });
}
TextEntries from_csv(const std::string& text) {
  return taken(text, [](std::istream& in, const TakeEntry& take) { read_csv(in, take); });
}
TextEntries from_tree(const std::string& text) {
  return taken(text, [](std::istream& in, const TakeEntry& take) { read_tree(in, ".", take); });
}
template <class Write>
std::string written(Write write) {
  std::ostringstream out;
  write(out);
  return out.str();
}
template <class Work>
std::string message_of(Work work) {
  try {
    work();
  } catch (const std::runtime_error& e) {
    return e.what();
  }
  return "";
}

TEST(TextEntriesTest, ComeBackAsTheyWere) {
  const TextEntries all = anything();
  EXPECT_EQ(from_ndjson(written([&](std::ostream& o) { write_ndjson(o, all); })), all);
  EXPECT_EQ(from_csv(written([&](std::ostream& o) { write_csv(o, all); })), all);
  const TextEntries named = with_namespaces();
  EXPECT_EQ(from_ndjson(written([&](std::ostream& o) { write_ndjson(o, named); })), named);
  EXPECT_EQ(from_csv(written([&](std::ostream& o) { write_csv(o, named); })), named);
  const TextEntries about = with_metadata();
  EXPECT_EQ(from_ndjson(written([&](std::ostream& o) { write_ndjson(o, about); })), about);
  EXPECT_EQ(from_csv(written([&](std::ostream& o) { write_csv(o, about); })), about);
  const TextEntries nested = tree();
  EXPECT_EQ(from_tree(written([&](std::ostream& o) { write_tree(o, nested, "."); })), nested);
}

TEST(TextEntriesTest, NestedObjectsAreHierarchicalKeys) {
  const TextEntries wanted = {{"app.config.debug", {"true", {}, 0, true}},
                              {"app.config.level", {"3", {}, 0, true}},
                              {"app.name", {"tern", {}, 0, true}},
                              {"app.tags", {"[\"a\",{\"b\":1}]", {}, 0, true}},
                              {"app.none", {"null", {}, 0, true}},
                              {"app.empty", {"{}", {}, 0, true}}};
  const std::string text = R"({"app":{"config":{"debug":true,"level":3},"name":"tern","tags":["a",{"b":1}],"none":null,"empty":{}}})";
  EXPECT_EQ(from_tree(text), wanted);
  EXPECT_EQ(from_ndjson(text + "\n\n{\"key\":\"k\",\"value\":\"v\"}\n").size(), wanted.size() + 1);
}

TEST(TextEntriesTest, WhatIsWrongIsSaidWithItsLine) {
  const auto ndjson = [](const std::string& text) { return message_of([&] { from_ndjson(text); }); };
  EXPECT_EQ(ndjson("{\"key\":\"k\",\"value\":\"v\"}\n[]\n"), "line 2: this is no JSON object");
  EXPECT_EQ(ndjson("{\"key\":\"k\"}"), "line 1: a key without a value, or a value without a key");
  EXPECT_EQ(ndjson("{\"key\":1,\"value\":\"v\"}"), "line 1: \"key\" is no string");
  EXPECT_EQ(ndjson("{\"key\":\"k\",\"value\":\"v\",\"ttl\":3}"), "line 1: \"ttl\" has no meaning here");
  EXPECT_EQ(ndjson("{\"key\":\"k\",\"value\":\"v\",\"idle_ms\":-3}"), "line 1: \"idle_ms\" is no positive integer");
  EXPECT_EQ(ndjson("{\"key\":\"k\",\"value_base64\":\"AA=A\"}"), "line 1: base64 has a character that it doesn't know");
  EXPECT_EQ(ndjson("{\"key\":\"k\",\"value\":\"v\",\"tags\":\"t\"}"), "line 1: \"tags\" is no array");
  EXPECT_EQ(ndjson("{\"key\":\"k\",\"value\":\"v\",\"tags\":[1]}"), "line 1: \"tags\" holds what is no string");
  EXPECT_NE(ndjson("{\"key\":").find("line 1: "), std::string::npos);
  std::string deep, list(100'000, '[');
  for (int i = 0; i != 100'000; ++i) deep += "{\"a\":";
  EXPECT_EQ(ndjson(deep), "line 1: nested more than 1,000 deep");
  EXPECT_EQ(message_of([&] { from_tree(deep); }), "nested more than 1,000 deep");
  EXPECT_EQ(message_of([&] { from_tree("{\"a\":" + list); }), "nested more than 1,000 deep");
  const auto csv = [](const std::string& text) { return message_of([&] { from_csv(text); }); };
  EXPECT_EQ(csv(""), "line 1: the names of the columns are missing");
  EXPECT_EQ(csv("a,b\n"), "line 1: the columns are not key,value,expires_at_ms,idle_ms,evictable,tags,namespace,metadata");
  EXPECT_EQ(csv("key,value\nk,v,w\n"), "line 2: another number of fields than columns");
  EXPECT_EQ(csv("key,value\nk,\"v\n"), "line 2: a quote that isn't closed");
  EXPECT_EQ(csv("key,value\nk,\"v\"w\n"), "line 2: bytes after a closing quote");
  EXPECT_EQ(csv("key,value\nk,v\"\n"), "line 2: a quote inside of a field that isn't quoted");
  EXPECT_EQ(csv("key,value,expires_at_ms\nk,v,soon\n"), "line 2: 'soon' is no positive integer");
  EXPECT_EQ(ndjson("{\"key\":\"\",\"value\":\"v\"}"), "line 1: the key is empty");
  EXPECT_EQ(csv("key,value\n\"\",v\n"), "line 2: the key is empty");
  EXPECT_EQ(message_of([] { read_namespace_text("fold_case"); }), "'fold_case' is no option of a namespace");
  EXPECT_EQ(message_of([] { read_namespace_text("separator=. share_percent=x"); }), "'share_percent=x' is no option of a namespace");
  const auto to_tree = [](TextEntries e) { return message_of([&] { written([&](std::ostream& o) { write_tree(o, e, "."); }); }); };
  EXPECT_EQ(to_tree({{"a", {"1", {}, 0, true}}, {"a.b", {"2", {}, 0, true}}}), "a tree can't hold a value both at 'a.b' and above it");
  EXPECT_EQ(to_tree({{TextKey("n", "a"), {"1", {}, 0, true}}}), "a tree can't hold namespaces: 'n'");
  EXPECT_NE(to_tree({{"a", {"\xff", {}, 0, true}}}), "");
  EXPECT_NE(to_tree({{std::string(1'000, '.'), {"1", {}, 0, true}}}), "");
  EXPECT_EQ(to_tree({{std::string(999, '.'), {"1", {}, 0, true}}}), "");
  EXPECT_NE(to_tree({{"a", {"1", 5, 0, true}}}), "");
  EXPECT_NE(to_tree({{"a", {"1", {}, 0, true, {"t"}}}}), "");
  EXPECT_NE(to_tree({{"a", {"1", {}, 0, true, {}, "m"}}}), "");
  EXPECT_EQ(ndjson("{\"key\":\"k\",\"value\":\"v\",\"metadata\":1}"), "line 1: \"metadata\" is no string");
}

class SnapshotCommandTest : public test::SnapshotTest {
 protected:
  std::string from_snapshot(const std::string& file) {
    SnapshotCommand command;
    command.snapshot = file;
    command.text = folder.file("out of " + std::filesystem::path(file).filename().string());
    EXPECT_EQ(export_snapshot_file(command), 0);
    return test::bytes_of_file(command.text);
  }
};

TEST_F(SnapshotCommandTest, AFileOfTextGoesInAndComesOutByteForByte) {
  const TextEntries all = anything();
  const struct {
    const char* form;
    std::string text;
  } cases[] = {{"ndjson", written([&](std::ostream& o) { write_ndjson(o, with_namespaces()); })},
               {"csv", written([&](std::ostream& o) { write_csv(o, with_namespaces()); })},
               {"ndjson", written([&](std::ostream& o) { write_ndjson(o, with_metadata()); })},
               {"csv", written([&](std::ostream& o) { write_csv(o, with_metadata()); })},
               {"ndjson", written([&](std::ostream& o) { write_ndjson(o, all); })},
               {"csv", written([&](std::ostream& o) { write_csv(o, all); })},
               {"json", written([&](std::ostream& o) { write_tree(o, tree(), "."); })}};
  for (const auto& c : cases) {
    SnapshotCommand command;
    command.snapshot = folder.file(c.form);
    command.form = c.form;
    command.text = folder.file("in");
    test::write_file(command.text, c.text);
    ASSERT_EQ(import_snapshot_file(command), 0);
    EXPECT_EQ(verify_snapshot_file(command), 0);
    EXPECT_EQ(inspect_snapshot_file(command), 0);
    command.limit = 2;
    EXPECT_EQ(dump_snapshot_file(command), 0);
    command.text = folder.file("out");
    ASSERT_EQ(export_snapshot_file(command), 0);
    EXPECT_EQ(test::bytes_of_file(command.text), c.text) << c.form;
    std::string bytes = test::bytes_of_file(command.snapshot);
    bytes[4'200] ^= 1;
    test::write_file(command.snapshot, bytes);
    EXPECT_EQ(verify_snapshot_file(command), 1);
    EXPECT_NE(message_of([&] { export_snapshot_file(command); }).find("a block's checksum is wrong"), std::string::npos);
  }
}

// A lock's token and a lease's id mean nothing to another store; what a lease's entry would live for, it keeps.
TEST_F(SnapshotCommandTest, LocksAndLeasesStayBehindAndAreCounted) {
  using namespace std::chrono_literals;
  SnapshotCommand command;
  command.snapshot = path;
  {
    const Store store = test::open_or_fail(test::small_options(&clock));
    const Namespace users = *store.ns("users", {});
    const Lease lease = *store.lease(1h);
    const LeaseId id = lease.id();
    ASSERT_TRUE(store.set("of it", "1", {.lease = id}).ok());
    ASSERT_TRUE(store.set("shorter", "2", {.ttl = 1s, .lease = id}).ok());
    ASSERT_TRUE(store.set("longer", "3", {.ttl = 2h, .lease = id, .metadata = "m"}).ok());
    ASSERT_TRUE(store.set("idle", "4", {.idle = 127ms, .evictable = false, .lease = id}).ok());
    ASSERT_TRUE(users.set("of it", "5", {.lease = id}).ok());
    ASSERT_TRUE(store.set("plain", "6").ok());
    const Lease over = *store.lease(1h);
    ASSERT_TRUE(store.set("gone", "7", {.lease = over.id()}).ok());
    ASSERT_TRUE(*over.revoke());
    store.lock("door", {.owner = "me"})->release();
    users.lock("gate", {.lease = id})->release();
    save_or_fail(store);
  }
  const auto at = [](std::chrono::milliseconds after) { return (test::kSavedAt + after).count(); };
  TextEntries wanted;
  wanted["of it"] = {"1", at(1h), 0, true};
  wanted["shorter"] = {"2", at(1s), 0, true};
  wanted["longer"] = {"3", at(1h), 0, true, {}, "m"};
  wanted["idle"] = {"4", at(1h), 0, false};
  wanted["plain"] = {"6", {}, 0, true};
  wanted[{"users", ""}] = {namespace_text({}), {}, 0, true};
  wanted[{"users", "of it"}] = {"5", at(1h), 0, true};
  const std::string left_out = path + ": left out: 2 locks, 2 leases; 5 entries have their leases' deadlines instead\n";
  const auto exported = [&](const char* form, const std::string& to) {
    command.form = form;
    command.text = to;
    testing::internal::CaptureStderr();
    EXPECT_EQ(export_snapshot_file(command), 0);
    EXPECT_EQ(testing::internal::GetCapturedStderr(), left_out);
    return test::bytes_of_file(to);
  };
  EXPECT_EQ(from_ndjson(exported("ndjson", folder.file("out"))), wanted);
  EXPECT_EQ(from_csv(exported("csv", folder.file("out.csv"))), wanted);
  testing::internal::CaptureStdout();
  EXPECT_EQ(dump_snapshot_file(command), 0);
  const std::string dumped = testing::internal::GetCapturedStdout();
  EXPECT_NE(dumped.find("  (expires 2023-11-14 23:13:20.000 UTC)\n"), std::string::npos) << dumped;
  EXPECT_NE(dumped.find("lock 'door' of 'me'"), std::string::npos) << dumped;

  // What an export of an earlier version says of them are keys like others, and no lock and no lease of another store either.
  command.form = "ndjson";
  command.snapshot = folder.file("again.tern");
  command.text = folder.file("in");
  test::write_file(command.text, "{\"key\":\"\\u0001lock\\u0001door\",\"value\":\"me\"}\n"
                                 "{\"key_base64\":\"AWxlYXNlAQAAAAAAAAAB\",\"value_base64\":\"gO42AAAAAAAA\"}\n"
                                 "{\"key\":\"\\u0001lease\\u0001plain\",\"value\":\"p\"}\n");
  testing::internal::CaptureStderr();
  ASSERT_EQ(import_snapshot_file(command), 0);
  EXPECT_NE(testing::internal::GetCapturedStderr().find("3 entries, "), std::string::npos);
  Options options = test::small_options(&clock);
  options.hash_seed.reset();
  const Result<Store> opened = Store::open(command.snapshot, options);
  ASSERT_TRUE(opened.ok());
  const Store& again = *opened;
  EXPECT_EQ(again.stats().entries, 3u);
  EXPECT_EQ(again.stats().leases, 0u);
  EXPECT_TRUE(again.lock_info("door").missing());
}

TEST_F(SnapshotCommandTest, TextComesFromAPipeAndFromStandardInput) {
  const std::string text = written([&](std::ostream& o) { write_ndjson(o, anything()); });
  SnapshotCommand command;
  command.snapshot = path;
  command.text = folder.file("pipe");
  ASSERT_EQ(::mkfifo(command.text.c_str(), 0600), 0);
  std::thread writer([&] { std::ofstream(command.text, std::ios::binary) << text; });
  EXPECT_EQ(import_snapshot_file(command), 0);
  writer.join();
  EXPECT_EQ(from_snapshot(path), text);

  command.snapshot = folder.file("second.tern");
  command.text = "-";
  std::istringstream in(text);
  std::streambuf* const before = std::cin.rdbuf(in.rdbuf());
  EXPECT_EQ(import_snapshot_file(command), 0);
  std::cin.rdbuf(before);
  EXPECT_EQ(from_snapshot(command.snapshot), text);
}

TEST_F(SnapshotCommandTest, WhatIsNoTextIsRefused) {
  const std::string text = written([&](std::ostream& o) { write_ndjson(o, anything()); });
  SnapshotCommand command;
  command.snapshot = path;
  command.text = folder.path();
  EXPECT_EQ(message_of([&] { import_snapshot_file(command); }), command.text + ": is a folder");
  command.text = folder.file("none");
  EXPECT_EQ(message_of([&] { import_snapshot_file(command); }), command.text + ": can't be read");
  command.text = command.snapshot = folder.file("text");
  test::write_file(command.text, text);
  EXPECT_EQ(message_of([&] { import_snapshot_file(command); }), command.text + ": is the snapshot itself");
  EXPECT_EQ(test::bytes_of_file(command.text), text);
  command.snapshot = path;
  ASSERT_EQ(import_snapshot_file(command), 0);
  const std::string bytes = test::bytes_of_file(path);
  command.text = path;
  EXPECT_EQ(message_of([&] { export_snapshot_file(command); }), path + ": is the snapshot itself");
  EXPECT_EQ(test::bytes_of_file(path), bytes);
  command.text = folder.file("text");
  command.snapshot = folder.file("small.tern");
  command.memory_bytes = 8 << 20;
  TextEntries many;
  for (unsigned i = 0; i != 12'000; ++i) many[test::numbered("k", i)] = {pattern(1'000, i), {}, 0, true};
  test::write_file(command.text, written([&](std::ostream& o) { write_ndjson(o, many); }));
  EXPECT_NE(message_of([&] { import_snapshot_file(command); }).find("a larger --memory-bytes is needed"), std::string::npos);
}

TEST_F(SnapshotCommandTest, AnOlderFormatIsConvertedWithNothingLostOrChanged) {
  SnapshotCommand command;
  command.snapshot = folder.file("old");
  std::filesystem::copy_file(TERN_TEST_DATA "/format_1.tern", command.snapshot);
  command.to = folder.file("new");
  ASSERT_EQ(convert_snapshot_file(command), 0);
  const auto before = *inspect_snapshot(command.snapshot), after = *inspect_snapshot(command.to);
  EXPECT_EQ(before.format_version, 1u);
  EXPECT_EQ(after.format_version, 2u);
  EXPECT_EQ(after.entries, before.entries);
  EXPECT_EQ(after.saved_at, before.saved_at);
  EXPECT_EQ(after.first_saved_at, before.first_saved_at);
  const auto entries = [](const std::string& file) {
    std::map<std::string, std::string> all;
    const auto read = read_snapshot(file, [&](const SnapshotEntry& e) {
      const auto expires = e.expires_at ? std::to_string(e.expires_at->count()) : "never";
      all.emplace(e.key, std::string(e.value) + '|' + std::to_string(e.version) + '|' + expires + '|' + std::to_string(e.idle.count()) +
                             (e.evictable ? "" : "|kept"));
      return true;
    });
    EXPECT_TRUE(read.ok());
    return all;
  };
  EXPECT_EQ(entries(command.to), entries(command.snapshot));
  EXPECT_EQ(entries(command.to).size(), 204u);
  // Damage isn't answered with the generation before.
  std::string bytes = test::bytes_of_file(command.snapshot);
  test::write_file(command.snapshot + ".1", bytes);
  bytes[4'200] ^= 1;
  test::write_file(command.snapshot, bytes);
  EXPECT_NE(message_of([&] { convert_snapshot_file(command); }).find("a block's checksum is wrong"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(command.to + ".1"));
}

}  // namespace
}  // namespace tern::tools
