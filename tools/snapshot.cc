#include "tools/snapshot.h"

#include <tern/namespace.h>
#include <tern/store.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

#include "tools/text_entries.h"

namespace tern::tools {
namespace {

using std::chrono::milliseconds;

// What goes wrong with a file ends the command: its message is printed by main.
[[noreturn]] void fail(const SnapshotFault& f, Error error) {
  std::string text = std::string(f.file) + ": ";
  if (f.offset != 0) text += "at byte " + std::to_string(f.offset) + ": ";
  text += f.reason[0] != 0 ? f.reason : status_name(error.status);
  if (f.system_error != 0) text += " (errno " + std::to_string(f.system_error) + ")";
  throw std::runtime_error(text);
}

std::string instant(milliseconds since_1970) {
  const std::time_t seconds = since_1970.count() / 1'000;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char text[96];
  std::snprintf(text, sizeof text, "%04d-%02d-%02d %02d:%02d:%02d.%03d UTC", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday,
                utc.tm_hour, utc.tm_min, utc.tm_sec, static_cast<int>(since_1970.count() % 1'000));
  return text;
}

// Bytes as they may be shown.
std::string shown(std::string_view bytes, std::size_t size_max) {
  std::string out;
  for (const char c : bytes.substr(0, size_max)) {
    const auto u = static_cast<unsigned char>(c);
    if (u >= 32 && u < 127 && c != '\\') {
      out += c;
    } else {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\x%02x", u);
      out += escaped;
    }
  }
  return bytes.size() > size_max ? out + "..." : out;
}

// "3 leases", "1 lease".
std::string counted(std::uint64_t n, const char* what, const char* many) { return std::to_string(n) + ' ' + (n == 1 ? what : many); }

// What the next store couldn't keep stays behind, which is said: a lock's token and a lease's id are the store's own, so nobody could
// give back the one or keep the other alive. An entry of a lease gets that one's deadline: as long as it would live if nobody did.
TextEntries entries_of(const std::string& path) {
  struct Member {
    unsigned ns;
    std::string key;
    LeaseId lease;
  };
  TextEntries entries;
  std::vector<Member> members;
  std::map<LeaseId, std::optional<std::int64_t>> lease_ends;  // ms since 1970
  std::uint64_t locks = 0;
  std::map<unsigned, std::string> names;
  std::map<unsigned, std::vector<std::pair<std::string, TextEntry>>> named;
  SnapshotFault fault;
  const auto read = read_snapshot(path, [&](const SnapshotEntry& e) {
    if (e.made != nullptr) {
      names[e.ns] = e.made->name;
      entries.emplace(TextKey(std::string(e.made->name), ""), TextEntry{namespace_text(e.made->options), {}, 0, true, {}, {}});
      return true;
    }
    if (e.kind == SnapshotEntry::Kind::kLease) {
      lease_ends[e.lease];
      if (e.expires_at) lease_ends[e.lease] = e.expires_at->count();
      return true;
    }
    if (e.kind == SnapshotEntry::Kind::kLock) {
      ++locks;
      return true;
    }
    TextEntry t{std::string(e.value), {}, e.idle.count(), e.evictable, {e.tags.begin(), e.tags.end()}, std::string(e.metadata)};
    if (e.expires_at) t.expires_at_ms = e.expires_at->count();
    if (e.lease != 0) members.push_back({e.ns, std::string(e.key), e.lease});
    if (e.ns != 0) {
      named[e.ns].emplace_back(e.key, std::move(t));
      return true;
    }
    entries.emplace(std::string(e.key), std::move(t));
    return true;
  }, &fault);
  if (!read) fail(fault, read.error());
  for (auto& [number, all] : named) {
    const auto name = names.find(number);
    if (name == names.end()) throw std::runtime_error(path + ": entries of a namespace that it doesn't name");
    for (auto& [key, t] : all) entries.emplace(TextKey(name->second, std::move(key)), std::move(t));
  }
  std::uint64_t ended = 0, bounded = 0;
  for (const Member& m : members) {
    const auto at = entries.find(TextKey(m.ns == 0 ? "" : names[m.ns], m.key));
    if (at == entries.end()) continue;  // a file that has a key twice
    const auto lease = lease_ends.find(m.lease);
    if (lease == lease_ends.end()) {  // it had ended
      entries.erase(at);
      ++ended;
      continue;
    }
    TextEntry& t = at->second;
    if (!lease->second) continue;  // somebody has taken its deadline away
    t.expires_at_ms = t.expires_at_ms && t.idle_ms == 0 ? std::min(*t.expires_at_ms, *lease->second) : *lease->second;
    t.idle_ms = 0;
    ++bounded;
  }
  if (locks != 0 || !lease_ends.empty() || ended != 0) {
    std::string text = path + ": left out: " + counted(locks, "lock", "locks") + ", " + counted(lease_ends.size(), "lease", "leases");
    if (ended != 0) text += ", " + counted(ended, "entry", "entries") + " whose lease had ended";
    if (bounded != 0) {
      text += "; " + counted(bounded, "entry has its lease's deadline", "entries have their leases' deadlines") + " instead";
    }
    std::fprintf(stderr, "%s\n", text.c_str());
  }
  return entries;
}

// Saves with a line that tells how far it has come, where somebody looks.
SaveReport save(const Store& store, const std::string& path, SaveOptions how) {
  SnapshotFault fault;
  how.fault = &fault;
  const bool is_seen = isatty(2) != 0;
  if (is_seen) {
    how.progress = [](void*, const SaveProgress& p) {
      std::fprintf(stderr, "\r%llu of %llu entries", static_cast<unsigned long long>(p.entries), static_cast<unsigned long long>(p.entries_expected));
      return true;
    };
  }
  const auto saved = store.save(path, how);
  if (is_seen) std::fprintf(stderr, "\r\033[K");
  if (!saved) fail(fault, saved.error());
  return *saved;
}

// Neither may take the other's place.
void refuse_same(const SnapshotCommand& c) {
  std::error_code not_there;
  if (std::filesystem::equivalent(c.text, c.snapshot, not_there)) throw std::runtime_error(c.text + ": is the snapshot itself");
}

constexpr std::size_t kStreamMemoryBytes = std::size_t{1} << 30;  // for a text that doesn't say how long it is

// The store's clock while it is filled: the wall clock, standing still, so that deadlines are the text's to the millisecond.
class StillWallClock final : public Clock {
 public:
  milliseconds now() const noexcept override { return at_; }

 private:
  milliseconds at_ = std::chrono::duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch());
};

}  // namespace

int inspect_snapshot_file(const SnapshotCommand& c) {
  SnapshotFault fault;
  const auto info = inspect_snapshot(c.snapshot, &fault);
  if (!info) fail(fault, info.error());
  std::printf("%s\n", c.snapshot.c_str());
  std::printf("  format version     %u, written by Tern %s\n", info->format_version, info->engine);
  if (info->name[0] != 0) std::printf("  store              %s\n", shown(info->name, 64).c_str());
  std::printf("  generation         %llu\n", static_cast<unsigned long long>(info->generation));
  std::printf("  saved              %s\n", instant(info->saved_at).c_str());
  std::printf("  first saved        %s\n", instant(info->first_saved_at).c_str());
  std::printf("  entries            %llu\n", static_cast<unsigned long long>(info->entries));
  std::printf("  bytes              %llu in %llu blocks, %u shards\n", static_cast<unsigned long long>(info->file_bytes),
              static_cast<unsigned long long>(info->blocks), info->shards);
  if (info->packed_blocks != 0) {
    std::printf("  packed             %llu blocks by %s; %llu bytes unpacked\n", static_cast<unsigned long long>(info->packed_blocks),
                info->codec == SnapshotCodec::kLz4 ? "LZ4" : "Zstd", static_cast<unsigned long long>(info->plain_bytes));
  }
  std::printf("  versions           up to %llu; earlier lives' lie below %llu\n", static_cast<unsigned long long>(info->version_max),
              static_cast<unsigned long long>(info->version_base));
  std::printf("  writer's budget    %zu bytes\n", info->memory_bytes);
  for (unsigned back = 1; back <= 64; ++back) {
    const std::string older = c.snapshot + "." + std::to_string(back);
    if (!std::filesystem::exists(older)) continue;
    const auto of_older = inspect_snapshot(older, &fault);
    if (of_older) {
      std::printf("  older: %s   generation %llu, %llu entries, saved %s\n", older.c_str(),
                  static_cast<unsigned long long>(of_older->generation), static_cast<unsigned long long>(of_older->entries),
                  instant(of_older->saved_at).c_str());
    } else {
      std::printf("  older: %s   %s\n", older.c_str(), fault.reason);
    }
  }
  return 0;
}

int verify_snapshot_file(const SnapshotCommand& c) {
  std::uint64_t whole = 0;
  unsigned findings = 0;
  const auto verified = verify_snapshot(c.snapshot, [&](const SnapshotFault& f) {
    ++findings;
    std::fprintf(stderr, "%s: at byte %llu: %s\n", f.file, static_cast<unsigned long long>(f.offset), f.reason);
  }, &whole);
  if (verified) {
    std::printf("%s: %llu entries, every byte is as it was written\n", c.snapshot.c_str(), static_cast<unsigned long long>(whole));
    return 0;
  }
  std::printf("%s: damaged in %u places; %llu entries are whole\n", c.snapshot.c_str(), findings, static_cast<unsigned long long>(whole));
  return 1;
}

int dump_snapshot_file(const SnapshotCommand& c) {
  SnapshotFault fault;
  std::uint64_t shown_entries = 0;
  const auto read = read_snapshot(c.snapshot, [&](const SnapshotEntry& e) {
    if (e.made != nullptr) {
      std::printf("namespace %u is '%s': %s\n", e.ns, shown(e.made->name, 63).c_str(), shown(namespace_text(e.made->options), 200).c_str());
      return c.limit == 0 || ++shown_entries != c.limit;
    }
    if (e.ns != 0) std::printf("%u: ", e.ns);
    if (e.kind == SnapshotEntry::Kind::kLease) {
      std::printf("lease %llu  (expires %s)\n", static_cast<unsigned long long>(e.lease), e.expires_at ? instant(*e.expires_at).c_str() : "never");
      return c.limit == 0 || ++shown_entries != c.limit;
    }
    if (e.kind == SnapshotEntry::Kind::kLock) {
      std::printf("lock '%s' of '%s'  (token %llu, lease %llu)\n", shown(e.key, 200).c_str(), shown(e.value, 60).c_str(),
                  static_cast<unsigned long long>(e.version), static_cast<unsigned long long>(e.lease));
      return c.limit == 0 || ++shown_entries != c.limit;
    }
    std::string tags = e.lease != 0 ? ", lease " + std::to_string(e.lease) : "";
    for (std::size_t i = 0; i != e.tags.size(); ++i) tags += (i == 0 ? ", tags " : " ") + shown(e.tags[i], 60);
    const std::string metadata = e.metadata.empty() ? "" : ", metadata " + shown(e.metadata, 60);
    std::printf("%s = %s  (%zu bytes, version %llu%s%s%s%s)\n", shown(e.key, 200).c_str(), shown(e.value, 60).c_str(), e.value.size(),
                static_cast<unsigned long long>(e.version), e.expires_at ? (", expires " + instant(*e.expires_at)).c_str() : "",
                e.evictable ? "" : ", never evicted", tags.c_str(), metadata.c_str());
    return c.limit == 0 || ++shown_entries != c.limit;
  }, &fault);
  if (!read) fail(fault, read.error());
  return 0;
}

int export_snapshot_file(const SnapshotCommand& c) {
  if (c.text != "-") refuse_same(c);
  const TextEntries entries = entries_of(c.snapshot);
  std::ofstream file;
  if (c.text != "-") {
    file.open(c.text, std::ios::binary | std::ios::trunc);
    if (!file) throw std::runtime_error(c.text + ": can't be written");
  }
  std::ostream& out = c.text == "-" ? std::cout : file;
  if (c.form == "ndjson") write_ndjson(out, entries);
  if (c.form == "csv") write_csv(out, entries);
  if (c.form == "json") write_tree(out, entries, c.separator);
  out.flush();
  if (!out) throw std::runtime_error(c.text + ": can't be written");
  return 0;
}

int import_snapshot_file(const SnapshotCommand& c) {
  std::ifstream file;
  std::uint64_t text_bytes = 0;
  bool is_file = false;  // with a size that is known
  if (c.text != "-") {
    std::error_code not_there;  // the open says so
    if (std::filesystem::is_directory(c.text, not_there)) throw std::runtime_error(c.text + ": is a folder");
    refuse_same(c);
    file.open(c.text, std::ios::binary);
    if (!file) throw std::runtime_error(c.text + ": can't be read");
    if ((is_file = std::filesystem::is_regular_file(c.text))) text_bytes = std::filesystem::file_size(c.text);
  }
  const StillWallClock clock;
  Options options;
  options.eviction = false;
  options.maintenance = Maintenance::kTick;
  options.clock = &clock;
  options.memory_bytes = c.memory_bytes != 0 ? c.memory_bytes : !is_file ? kStreamMemoryBytes : (std::size_t{64} << 20) + 4 * text_bytes;
  Result<Store> store = Store::open(options);
  if (!store) throw std::runtime_error(std::string("no store: ") + status_name(store.status()) + " " + field_name(store.error().field));
  std::uint64_t taken = 0, expired = 0;
  std::map<std::string, Namespace> namespaces;
  // By what the file says of it, before its entries; else as one is that nobody has said anything of.
  const auto namespace_of = [&](const std::string& name, const NamespaceOptions& rules) {
    if (const auto there = namespaces.find(name); there != namespaces.end()) return there->second;
    const Result<Namespace> made = store->ns(name, rules);
    if (!made) {
      throw std::runtime_error("namespace '" + shown(name, 63) + "': " + status_name(made.status()) + " " + field_name(made.error().field));
    }
    return namespaces.emplace(name, *made).first->second;
  };
  const TakeEntry take = [&](const TextKey& whole, const TextEntry& e) {
    if (whole.key.empty()) {
      namespace_of(whole.ns, read_namespace_text(e.value));
      return;
    }
    const std::string& key = whole.key;
    SetOptions how;
    how.evictable = e.evictable;
    const std::vector<std::string_view> tags(e.tags.begin(), e.tags.end());
    how.tags = tags;
    how.metadata = e.metadata;
    if (e.idle_ms != 0) how.idle = milliseconds(e.idle_ms);
    if (e.expires_at_ms && e.idle_ms == 0) {
      how.ttl = milliseconds(*e.expires_at_ms) - clock.now();
      if (how.ttl->count() <= 0) {
        ++expired;
        return;
      }
    }
    const auto set = whole.ns.empty() ? store->set(key, e.value, how) : namespace_of(whole.ns, {}).set(key, e.value, how);
    if (!set) {
      throw std::runtime_error("'" + shown(key, 60) + "': " + status_name(set.status()) + " " + field_name(set.error().field) +
                               (set.status() == Status::kOutOfMemory ? ": a larger --memory-bytes is needed" : ""));
    }
    ++taken;
  };
  std::istream& in = c.text == "-" ? std::cin : file;
  if (c.form == "ndjson") read_ndjson(in, c.separator, take);
  if (c.form == "csv") read_csv(in, take);
  if (c.form == "json") read_tree(in, c.separator, take);
  SaveOptions how;
  how.wall_now = clock.now();
  const SaveReport saved = save(*store, c.snapshot, how);
  std::fprintf(stderr, "%s: %llu entries, %llu bytes", c.snapshot.c_str(), static_cast<unsigned long long>(saved.entries),
               static_cast<unsigned long long>(saved.bytes));
  if (expired != 0) std::fprintf(stderr, "; %llu had expired", static_cast<unsigned long long>(expired));
  // A store knows its namespaces by two entries each and one for all.
  const std::uint64_t entries = saved.entries - (namespaces.empty() ? 0 : 2 * namespaces.size() + 1);
  if (taken != entries) std::fprintf(stderr, "; %llu keys came again", static_cast<unsigned long long>(taken - entries));
  std::fprintf(stderr, "\n");
  return 0;
}

int convert_snapshot_file(const SnapshotCommand& c) {
  SnapshotFault fault;
  const auto info = inspect_snapshot(c.snapshot, &fault);
  if (!info) fail(fault, info.error());
  const StillWallClock clock;  // the conversion takes no lifetime any time
  Options options;
  options.clock = &clock;
  options.eviction = false;
  options.maintenance = Maintenance::kTick;
  options.name = info->name;
  options.memory_bytes = c.memory_bytes != 0 ? c.memory_bytes : (std::size_t{64} << 20) + 4 * info->plain_bytes;
  constexpr std::size_t kValueBytesMax = (std::size_t{4} << 30) - (64 << 10);
  options.value_bytes_max = std::min(options.memory_bytes / 3, kValueBytesMax);  // that of a value alone in its file, too
  OpenReport report;
  SnapshotOptions as;
  as.own = false;
  as.wall_now = info->saved_at;  // nothing has expired then, and nothing gets another lifetime
  as.report = &report;
  as.fault = &fault;
  const Result<Store> store = Store::open(c.snapshot, options, as);
  if (!store || report.fallbacks != 0) fail(fault, store.error());  // what was asked for is this file, not one before it
  SaveOptions how;
  how.wall_now = info->saved_at;
  if (c.codec == "lz4") how.codec = SnapshotCodec::kLz4;
  if (c.codec == "zstd") how.codec = SnapshotCodec::kZstd;
  const SaveReport saved = save(*store, c.to, how);
  std::fprintf(stderr, "%s: %llu entries, %llu bytes\n", c.to.c_str(), static_cast<unsigned long long>(saved.entries),
               static_cast<unsigned long long>(saved.bytes));
  return 0;
}

}  // namespace tern::tools
