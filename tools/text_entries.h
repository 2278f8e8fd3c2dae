// Entries as text, both ways: see snapshot.h for the forms. Throws std::runtime_error with what is wrong and where.
#ifndef TERN_TOOLS_TEXT_ENTRIES_H_
#define TERN_TOOLS_TEXT_ENTRIES_H_

#include <tern/options.h>

#include <compare>
#include <cstdint>
#include <functional>
#include <istream>
#include <map>
#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

namespace tern::tools {

struct TextEntry {
  std::string value;
  std::optional<std::int64_t> expires_at_ms;
  std::int64_t idle_ms = 0;
  bool evictable = true;
  std::vector<std::string> tags{};
  std::string metadata{};
  friend bool operator==(const TextEntry&, const TextEntry&) = default;
};
// A key of a namespace; of the default one, where that has no name. Without a key: what the namespace is, and the entry's value
// is its options as namespace_text() writes them; it comes before the namespace's keys.
struct TextKey {
  std::string ns;
  std::string key;

  TextKey(const char* own) : key(own) {}
  TextKey(std::string own) : key(std::move(own)) {}
  TextKey(std::string of, std::string own) : ns(std::move(of)), key(std::move(own)) {}
  friend auto operator<=>(const TextKey&, const TextKey&) = default;
  friend bool operator==(const TextKey&, const TextKey&) = default;
};
using TextEntries = std::map<TextKey, TextEntry>;
using TakeEntry = std::function<void(TextKey key, TextEntry entry)>;

// "separator=/ fold_case check_paths normalise_paths share_percent=25", of the options those that are set.
std::string namespace_text(const NamespaceOptions& options);
NamespaceOptions read_namespace_text(const std::string& text);

void write_ndjson(std::ostream& out, const TextEntries& entries);
void write_csv(std::ostream& out, const TextEntries& entries);
void write_tree(std::ostream& out, const TextEntries& entries, const std::string& separator);

void read_ndjson(std::istream& in, const std::string& separator, const TakeEntry& take);
void read_csv(std::istream& in, const TakeEntry& take);
void read_tree(std::istream& in, const std::string& separator, const TakeEntry& take);

}  // namespace tern::tools

#endif  // TERN_TOOLS_TEXT_ENTRIES_H_
