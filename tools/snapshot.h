// `tern snapshot`: a file looked at, verified, converted, written out as text and made from text.
//
// Forms of text
//   ndjson  a line an entry, {"key": ..., "value": ..., "expires_at_ms": ..., "idle_ms": ..., "evictable": false, "tags": [...],
//           "metadata": ...}; bytes that are no UTF-8 as "key_base64", "value_base64", "tags_base64" and "metadata_base64". On
//           the way in, a line without these names is a tree (below).
//   csv     key,value,expires_at_ms,idle_ms,evictable,tags, and namespace and metadata where there are any, after a line with
//           these names; quotes as RFC 4180 has them, bytes as they are. The tags are a line of CSV again, in one field.
//   json    one tree: nested objects, a key's parts between separators; leaves are strings. On the way in other leaves
//           (numbers, true, null, arrays) become their JSON text. What a tree can't say is an error that names the key.
// Locks and leases, which mean something to one store alone, are left out and counted; an entry of a lease has that one's deadline.
// Entries are written in the order of their keys, so that one text gives one file of text again.
#ifndef TERN_TOOLS_SNAPSHOT_H_
#define TERN_TOOLS_SNAPSHOT_H_

#include <cstdint>
#include <string>

namespace tern::tools {

struct SnapshotCommand {
  std::string snapshot;             // the file
  std::string text = "-";           // -: standard input or output
  std::string form = "ndjson";
  std::string separator = ".";      // of json
  std::string to;                   // of convert: the new file
  std::string codec = "none";       // of convert: none, lz4, zstd
  std::uint64_t limit = 0;          // of dump; 0: all
  std::uint64_t memory_bytes = 0;   // of the store that import and convert go through; 0: from the size of what they read
};

// 0; 1 the file is damaged or the text is wrong (said on standard error); 2 the arguments are.
int inspect_snapshot_file(const SnapshotCommand& c);
int verify_snapshot_file(const SnapshotCommand& c);
int dump_snapshot_file(const SnapshotCommand& c);
int export_snapshot_file(const SnapshotCommand& c);
int import_snapshot_file(const SnapshotCommand& c);
// The same entries, versions and deadlines, in the format of this version. What has expired since it was saved, too.
int convert_snapshot_file(const SnapshotCommand& c);

}  // namespace tern::tools

#endif  // TERN_TOOLS_SNAPSHOT_H_
