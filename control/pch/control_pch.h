// Precompiled for drd's sources: what takes most of the time to compile in each of them. They
// include what they use all the same.
#include <fmt/format.h>
#include <google/protobuf/map.h>
#include <google/protobuf/message.h>
#include <grpcpp/grpcpp.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "dr/v1/api.grpc.pb.h"
