#include "tools/text_entries.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

namespace tern::tools {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

std::string base64(std::string_view bytes) {
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t n = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t word = 0;
    for (std::size_t k = 0; k != 3; ++k) word = word << 8 | (k < n ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    for (std::size_t k = 0; k != 4; ++k) out += k <= n ? kDigits[word >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

std::string from_base64(std::string_view text) {
  if (text.size() % 4 != 0) throw std::runtime_error("base64 of a length that is no multiple of 4");
  std::string out;
  for (std::size_t i = 0; i != text.size(); i += 4) {
    std::uint32_t word = 0;
    std::size_t n = 3;
    for (std::size_t k = 0; k != 4; ++k) {
      const char c = text[i + k];
      std::size_t digit = kDigits.find(c);
      if (c == '=' && i + 4 == text.size() && k >= 2) {
        digit = 0;
        n = std::min(n, k - 1);
      } else if (digit == kDigits.npos || n != 3) {
        throw std::runtime_error("base64 has a character that it doesn't know");
      }
      word = word << 6 | static_cast<std::uint32_t>(digit);
    }
    for (std::size_t k = 0; k != n; ++k) out += static_cast<char>(word >> (16 - 8 * k) & 255);
  }
  return out;
}

// The JSON string, or nothing if the bytes are no UTF-8.
std::optional<std::string> quoted(const std::string& bytes) {
  try {
    return Json(bytes).dump();
  } catch (const Json::type_error&) {
    return std::nullopt;
  }
}

std::string member(const char* name, const std::string& bytes) {
  if (const auto text = quoted(bytes)) return "\"" + std::string(name) + "\":" + *text;
  return "\"" + std::string(name) + "_base64\":\"" + base64(bytes) + "\"";
}

[[noreturn]] void fail(std::uint64_t line, const std::string& what) {
  throw std::runtime_error("line " + std::to_string(line) + ": " + what);
}

// The bytes under `name` or `name`_base64; nothing if neither is there.
std::optional<std::string> bytes_under(const Json& object, const std::string& name) {
  if (const auto it = object.find(name); it != object.end()) {
    if (!it->is_string()) throw std::runtime_error("\"" + name + "\" is no string");
    return it->get<std::string>();
  }
  if (const auto it = object.find(name + "_base64"); it != object.end()) {
    if (!it->is_string()) throw std::runtime_error("\"" + name + "_base64\" is no string");
    return from_base64(it->get<std::string>());
  }
  return std::nullopt;
}

std::int64_t time_under(const Json& value, const char* name) {
  if (!value.is_number_integer() || value.get<std::int64_t>() <= 0) {
    throw std::runtime_error("\"" + std::string(name) + "\" is no positive integer");
  }
  return value.get<std::int64_t>();
}

void write_tags(std::ostream& out, const std::vector<std::string>& tags) {
  if (tags.empty()) return;
  const bool text = std::all_of(tags.begin(), tags.end(), [](const std::string& t) { return quoted(t).has_value(); });
  out << (text ? ",\"tags\":[" : ",\"tags_base64\":[");
  for (std::size_t i = 0; i != tags.size(); ++i) out << (i != 0 ? "," : "") << (text ? *quoted(tags[i]) : '"' + base64(tags[i]) + '"');
  out << ']';
}
std::vector<std::string> tags_under(const Json& value, const std::string& name) {
  std::vector<std::string> tags;
  if (!value.is_array()) throw std::runtime_error("\"" + name + "\" is no array");
  for (const Json& tag : value) {
    if (!tag.is_string()) throw std::runtime_error("\"" + name + "\" holds what is no string");
    tags.push_back(name == "tags" ? tag.get<std::string>() : from_base64(tag.get<std::string>()));
  }
  return tags;
}

// `prefix` ends with a separator, or is empty at the root.
// What is nested deeper would be taken apart, and put together, by as deep a recursion.
constexpr int kLevelsMax = 1'000;
constexpr const char* kTooDeep = "nested more than 1,000 deep";

template <class In>
Json parsed(In&& in) {
  return Json::parse(std::forward<In>(in), [](int level, Json::parse_event_t, const Json&) {
    if (level > kLevelsMax) throw std::runtime_error(kTooDeep);
    return true;
  });
}

void take_tree(const Json& node, const std::string& prefix, const std::string& separator, const TakeEntry& take) {
  for (const auto& [name, child] : node.items()) {
    const std::string key = prefix + name;
    if (child.is_object() && !child.empty()) {
      take_tree(child, key + separator, separator, take);
    } else {
      take(key, {child.is_string() ? child.get<std::string>() : child.dump(), {}, 0, true});
    }
  }
}

std::string csv_field(const std::string& bytes) {
  if (!bytes.empty() && bytes.find_first_of("\",\r\n") == bytes.npos) return bytes;
  std::string out = "\"";
  for (const char c : bytes) {
    out += c;
    if (c == '"') out += c;
  }
  return out + "\"";
}

// One line of fields, which may go over several of the text. False: the text is at its end.
bool read_fields(std::istream& in, std::uint64_t& line, std::vector<std::string>& fields) {
  fields.clear();
  if (in.peek() == std::istream::traits_type::eof()) return false;
  std::string field;
  const std::uint64_t first = ++line;
  for (;;) {
    int c = in.get();
    if (c == '"' && field.empty()) {
      for (;;) {
        c = in.get();
        if (c == std::istream::traits_type::eof()) fail(first, "a quote that isn't closed");
        if (c == '\n') ++line;
        if (c == '"' && in.peek() != '"') break;
        if (c == '"') in.get();
        field += static_cast<char>(c);
      }
      c = in.get();
      if (c == '\r' && in.peek() == '\n') c = in.get();
      if (c != ',' && c != '\n' && c != std::istream::traits_type::eof()) fail(line, "bytes after a closing quote");
    } else {
      while (c != ',' && c != '\n' && c != std::istream::traits_type::eof()) {
        if (c == '"') fail(line, "a quote inside of a field that isn't quoted");
        if (c != '\r' || in.peek() != '\n') field += static_cast<char>(c);
        c = in.get();
      }
    }
    fields.push_back(std::move(field));
    field.clear();
    if (c != ',') return true;
  }
}

// The last ones are written where they are needed.
constexpr std::string_view kColumns = "key,value,expires_at_ms,idle_ms,evictable,tags,namespace,metadata";
constexpr std::size_t kColumnCount = 8, kColumnsAlways = 6, kColumnsWithNamespaces = 7;
std::string_view first_columns(std::size_t count) {
  std::size_t end = 0;
  for (; count != 0; --count) end = kColumns.find(',', end + 1);
  return kColumns.substr(0, end);
}
std::size_t columns_needed(const TextEntries& entries) {
  for (const auto& [key, e] : entries) {
    if (!e.metadata.empty()) return kColumnCount;
  }
  return !entries.empty() && !entries.rbegin()->first.ns.empty() ? kColumnsWithNamespaces : kColumnsAlways;
}

std::int64_t number(const std::string& text, std::uint64_t line) {
  std::int64_t n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (error != std::errc() || end != text.data() + text.size() || n <= 0) fail(line, "'" + text + "' is no positive integer");
  return n;
}

}  // namespace

std::string namespace_text(const NamespaceOptions& o) {
  std::string text = std::string("separator=") + o.separator;
  if (o.fold_case) text += " fold_case";
  if (o.check_paths) text += " check_paths";
  if (o.normalise_paths) text += " normalise_paths";
  if (o.share_percent != 0) text += " share_percent=" + std::to_string(o.share_percent);
  return text;
}

NamespaceOptions read_namespace_text(const std::string& text) {
  constexpr std::string_view kFirst = "separator=", kShare = "share_percent=";
  const auto wrong = [&](const std::string& what) { throw std::runtime_error("'" + what + "' is no option of a namespace"); };
  NamespaceOptions o;
  if (!text.starts_with(kFirst) || text.size() == kFirst.size()) wrong(text);
  o.separator = text[kFirst.size()];
  std::istringstream words(text.substr(kFirst.size() + 1));
  for (std::string word; words >> word;) {
    if (word == "fold_case") {
      o.fold_case = true;
    } else if (word == "check_paths") {
      o.check_paths = true;
    } else if (word == "normalise_paths") {
      o.normalise_paths = true;
    } else if (word.starts_with(kShare)) {
      const char* const end = word.data() + word.size();
      const auto [at, error] = std::from_chars(word.data() + kShare.size(), end, o.share_percent);
      if (error != std::errc() || at != end) wrong(word);
    } else {
      wrong(word);
    }
  }
  return o;
}

void write_ndjson(std::ostream& out, const TextEntries& entries) {
  for (const auto& [key, e] : entries) {
    out << '{';
    if (!key.ns.empty()) out << member("namespace", key.ns) << ',';
    if (key.key.empty()) {
      out << member("options", e.value) << "}\n";
      continue;
    }
    out << member("key", key.key) << ',' << member("value", e.value);
    if (e.expires_at_ms && e.idle_ms == 0) out << ",\"expires_at_ms\":" << *e.expires_at_ms;
    if (e.idle_ms != 0) out << ",\"idle_ms\":" << e.idle_ms;
    if (!e.evictable) out << ",\"evictable\":false";
    write_tags(out, e.tags);
    if (!e.metadata.empty()) out << ',' << member("metadata", e.metadata);
    out << "}\n";
  }
}

void read_ndjson(std::istream& in, const std::string& separator, const TakeEntry& take) {
  std::string text;
  for (std::uint64_t line = 1; std::getline(in, text); ++line) {
    if (text.find_first_not_of(" \t\r") == text.npos) continue;
    try {
      const Json object = parsed(text);
      if (!object.is_object()) throw std::runtime_error("this is no JSON object");
      const std::string ns = bytes_under(object, "namespace").value_or("");
      if (const auto options = bytes_under(object, "options"); options && !ns.empty() && object.size() == 2) {
        take({ns, ""}, {*options, {}, 0, true});
        continue;
      }
      std::optional<std::string> key = bytes_under(object, "key");
      std::optional<std::string> value = bytes_under(object, "value");
      if (!key && !value) {
        take_tree(object, "", separator, take);
        continue;
      }
      if (!key || !value) throw std::runtime_error("a key without a value, or a value without a key");
      TextEntry e{std::move(*value), {}, 0, true};
      for (const auto& [name, member_value] : object.items()) {
        if (name == "expires_at_ms") {
          e.expires_at_ms = time_under(member_value, "expires_at_ms");
        } else if (name == "idle_ms") {
          e.idle_ms = time_under(member_value, "idle_ms");
        } else if (name == "evictable" && member_value.is_boolean()) {
          e.evictable = member_value.get<bool>();
        } else if (name == "tags" || name == "tags_base64") {
          e.tags = tags_under(member_value, name);
        } else if (name == "metadata" || name == "metadata_base64") {
          e.metadata = *bytes_under(object, "metadata");
        } else if (name != "key" && name != "value" && name != "key_base64" && name != "value_base64" &&
                   name != "namespace" && name != "namespace_base64") {
          throw std::runtime_error("\"" + name + "\" has no meaning here");
        }
      }
      if (key->empty()) throw std::runtime_error("the key is empty");
      take({ns, std::move(*key)}, std::move(e));
    } catch (const Json::exception& e) {
      fail(line, e.what());
    } catch (const std::runtime_error& e) {
      fail(line, e.what());
    }
  }
}

void write_csv(std::ostream& out, const TextEntries& entries) {
  const std::size_t columns = columns_needed(entries);
  out << first_columns(columns) << "\n";
  for (const auto& [key, e] : entries) {
    out << csv_field(key.key) << ',' << csv_field(e.value) << ',';
    if (e.expires_at_ms && e.idle_ms == 0) out << *e.expires_at_ms;
    out << ',';
    if (e.idle_ms != 0) out << e.idle_ms;
    std::string tags;
    for (const std::string& tag : e.tags) tags += (tags.empty() ? "" : ",") + csv_field(tag);
    out << ',' << (e.evictable ? "" : "false") << ',' << (tags.empty() ? "" : csv_field(tags));
    if (columns >= kColumnsWithNamespaces) out << ',' << (key.ns.empty() ? "" : csv_field(key.ns));
    if (columns == kColumnCount) out << ',' << (e.metadata.empty() ? "" : csv_field(e.metadata));
    out << "\n";
  }
}

void read_csv(std::istream& in, const TakeEntry& take) {
  std::uint64_t line = 0;
  std::vector<std::string> fields;
  if (!read_fields(in, line, fields)) throw std::runtime_error("line 1: the names of the columns are missing");
  std::string names;
  for (const auto& f : fields) names += (names.empty() ? "" : ",") + f;
  if (!kColumns.starts_with(names) || fields.size() < 2) fail(1, "the columns are not " + std::string(kColumns));
  const std::size_t columns = fields.size();
  while (read_fields(in, line, fields)) {
    if (fields.size() == 1 && fields[0].empty()) continue;
    if (fields.size() != columns) fail(line, "another number of fields than columns");
    fields.resize(kColumnCount);
    TextEntry e{std::move(fields[1]), {}, 0, true};
    if (!fields[2].empty()) e.expires_at_ms = number(fields[2], line);
    if (!fields[3].empty()) e.idle_ms = number(fields[3], line);
    if (fields[4] == "false") {
      e.evictable = false;
    } else if (!fields[4].empty() && fields[4] != "true") {
      fail(line, "'" + fields[4] + "' is neither true nor false");
    }
    if (!fields[5].empty()) {
      std::istringstream tags(fields[5]);
      std::uint64_t tags_line = line - 1;
      read_fields(tags, tags_line, e.tags);
    }
    e.metadata = std::move(fields[7]);
    if (fields[0].empty() && fields[6].empty()) fail(line, "the key is empty");
    take({std::move(fields[6]), std::move(fields[0])}, std::move(e));
  }
}

void write_tree(std::ostream& out, const TextEntries& entries, const std::string& separator) {
  Json root = Json::object();
  for (const auto& [whole, e] : entries) {
    if (!whole.ns.empty()) throw std::runtime_error("a tree can't hold namespaces: '" + whole.ns + "'");
    const std::string& key = whole.key;
    if (e.expires_at_ms || e.idle_ms != 0 || !e.evictable || !e.tags.empty() || !e.metadata.empty()) {
      throw std::runtime_error("a tree can't say how long '" + key + "' lives, that it is not evictable, its tags or its metadata");
    }
    if (!quoted(key) || !quoted(e.value)) throw std::runtime_error("a tree can't hold bytes that are no UTF-8: '" + key + "'");
    Json* node = &root;
    std::size_t at = 0;
    for (int level = 1;; ++level) {
      if (level > kLevelsMax) throw std::runtime_error("a tree can't hold a key of more than 1,000 names: '" + key.substr(0, 100) + "...'");
      const std::size_t end = key.find(separator, at);
      const std::string part = key.substr(at, end == key.npos ? end : end - at);
      if (!node->is_object()) throw std::runtime_error("a tree can't hold a value both at '" + key + "' and above it");
      // In the order of keys an inner node comes after a leaf of its name, never before.
      if (end == key.npos) {
        if (node->contains(part)) throw std::runtime_error("a tree can't hold a value both at '" + key + "' and below it");
        (*node)[part] = e.value;
        break;
      }
      if (!node->contains(part)) (*node)[part] = Json::object();
      node = &(*node)[part];
      at = end + separator.size();
    }
  }
  out << root.dump(2) << "\n";
}

void read_tree(std::istream& in, const std::string& separator, const TakeEntry& take) {
  try {
    const Json root = parsed(in);
    if (!root.is_object()) throw std::runtime_error("this is no JSON object");
    take_tree(root, "", separator, take);
  } catch (const Json::exception& e) {
    throw std::runtime_error(e.what());
  }
}

}  // namespace tern::tools
