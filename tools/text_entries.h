// Entries as text, both ways: see snapshot.h for the forms. Throws std::runtime_error with what is wrong and where.
#ifndef TERN_TOOLS_TEXT_ENTRIES_H_
#define TERN_TOOLS_TEXT_ENTRIES_H_

#include <cstdint>
#include <functional>
#include <istream>
#include <map>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

namespace tern::tools {

struct TextEntry {
  std::string value;
  std::optional<std::int64_t> expires_at_ms;
  std::int64_t idle_ms = 0;
  bool evictable = true;
  std::vector<std::string> tags{};
  friend bool operator==(const TextEntry&, const TextEntry&) = default;
};
using TextEntries = std::map<std::string, TextEntry>;
using TakeEntry = std::function<void(std::string key, TextEntry entry)>;

void write_ndjson(std::ostream& out, const TextEntries& entries);
void write_csv(std::ostream& out, const TextEntries& entries);
void write_tree(std::ostream& out, const TextEntries& entries, const std::string& separator);

void read_ndjson(std::istream& in, const std::string& separator, const TakeEntry& take);
void read_csv(std::istream& in, const TakeEntry& take);
void read_tree(std::istream& in, const std::string& separator, const TakeEntry& take);

}  // namespace tern::tools

#endif  // TERN_TOOLS_TEXT_ENTRIES_H_
