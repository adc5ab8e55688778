// dr.v1.Resources: bulk provisioning.
//
// The items that have arrived, up to some thousands, become one commit of the store and one
// transaction of the data plane. Many items in a message make it fast. An object that refers to
// something unknown is parked until the client half-closes and judged then, so references may point
// forward. Results are answered in the order of the items; those behind a parked one wait for it.
#pragma once

#include "control/api/status.h"
#include "control/api/watches.h"

namespace dr::control {

class Intake;

class ResourcesService final : public v1::Resources::Service {
  public:
    ResourcesService(Catalog& catalog, StreamLimit& streams)
        : catalog_(catalog), streams_(streams) {}

    using Stream = grpc::ServerReaderWriter<v1::ApplyResponse, v1::ApplyRequest>;
    grpc::Status Apply(grpc::ServerContext* context, Stream* stream) override;

  private:
    grpc::Status apply(Stream& stream, bool atomic, Intake& intake);

    Catalog& catalog_;
    StreamLimit& streams_;
};

}  // namespace dr::control
