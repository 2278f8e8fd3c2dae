// A redis-server of the benchmark's own, on a free port of the loopback interface, that keeps nothing and tells key changes
// (keyspace notifications). Spoken to by hiredis.
#ifndef TERN_BENCH_PEERS_REDIS_SERVER_H_
#define TERN_BENCH_PEERS_REDIS_SERVER_H_

#include <sys/types.h>

#include <cstdint>
#include <string>

namespace tern::bench {

class RedisServer {
 public:
  // Null, or why there is none in this build.
  static const char* why_absent();

  // Started and answering, or error() says why not.
  RedisServer();
  ~RedisServer();
  RedisServer(const RedisServer&) = delete;
  RedisServer& operator=(const RedisServer&) = delete;
  const std::string& error() const { return error_; }

  // One client sets `calls` times, `pipelined` of them on their way at once; another is subscribed to all keys. The seconds
  // from the first set to the last event; 0: something failed, see error().
  double tell(std::uint64_t calls, std::uint64_t keys, unsigned pipelined);

 private:
  bool start();

  pid_t child_ = -1;
  int port_ = 0;
  std::string error_;
};

}  // namespace tern::bench

#endif  // TERN_BENCH_PEERS_REDIS_SERVER_H_
