// Precompiled for drcli's sources: what takes most of the time to compile in each of them. They
// include what they use all the same.
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
