// Precompiled headers of drcli's sources: those that take most of the time to compile. Each source
// still includes what it uses.
#include <fmt/format.h>
#include <google/protobuf/map.h>
#include <google/protobuf/message.h>
#include <google/protobuf/util/json_util.h>
#include <grpcpp/grpcpp.h>

#include <CLI/CLI.hpp>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "dr/v1/api.grpc.pb.h"
