# The engine's side: everything but proto.[ch] and box/.
bide_module(executor
  SOURCES boxenv.c capture.c errobj.c executor.c invocation.c peer.c report.c runtime.c runtime_api.c startup.c supervise.c verdict.c worker.c
  FACE executor.h
  DEPS base
  PRIVATE_DEPS executor_proto logs)
