// What the benchmark's Redis peers share: starting a redis-server, speaking to it by hiredis, ending it.
#ifndef TERN_BENCH_PEERS_REDIS_CLIENT_H_
#define TERN_BENCH_PEERS_REDIS_CLIENT_H_

#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <spawn.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <string>

extern char** environ;

namespace tern::bench {

struct FreeContext {
  void operator()(redisContext* c) const { redisFree(c); }
};
struct FreeReply {
  void operator()(redisReply* r) const { freeReplyObject(r); }
};
using Connection = std::unique_ptr<redisContext, FreeContext>;
using Reply = std::unique_ptr<redisReply, FreeReply>;

// `context` as hiredis made it; null if nobody answers there.
inline Connection connected(redisContext* context, timeval patience) {
  Connection c(context);
  if (c != nullptr && c->err != 0) c.reset();
  if (c != nullptr) redisSetTimeout(c.get(), patience);
  return c;
}
inline Reply read(redisContext& c) {
  void* reply = nullptr;
  if (redisGetReply(&c, &reply) != REDIS_OK) reply = nullptr;
  return Reply(static_cast<redisReply*>(reply));
}

// The process; -1: `error` says why there is none. `arguments` end with a null.
inline pid_t spawn_redis(const char** arguments, std::string& error) {
  pid_t child = -1;
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(&files, STDOUT_FILENO, STDERR_FILENO);
  const int failed = posix_spawnp(&child, arguments[0], &files, nullptr, const_cast<char**>(arguments), environ);
  posix_spawn_file_actions_destroy(&files);
  if (failed == 0) return child;
  error = std::string("redis-server can't be started: ") + std::strerror(failed) + " (apt-get install redis-server)";
  return -1;
}

}  // namespace tern::bench

#endif  // TERN_BENCH_PEERS_REDIS_CLIENT_H_
