// The file that keeps an attachment, with a digest.
#include "ur/signalling/cache.h"

#include <openssl/evp.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string_view>

#include "process/files.h"

namespace dr::ur {

namespace {

constexpr std::size_t kDigest = 32;

std::string digest_of(std::string_view bytes) {
    std::string out(kDigest, '\0');
    unsigned size = 0;
    if (EVP_Digest(bytes.data(), bytes.size(), reinterpret_cast<unsigned char*>(out.data()), &size,
                   EVP_sha256(), nullptr) != 1)
        throw std::runtime_error("SHA-256 fails");
    return out;
}

}  // namespace

std::optional<v1::Attachment> AttachmentCache::load(const std::string& subscriber,
                                                    std::string& why) {
    if (path_.empty() || ::access(path_.c_str(), F_OK) != 0) return std::nullopt;
    if (!process::narrow_file(path_, 0600, &why)) {
        why += "; going on without it until a DR answers";
        return std::nullopt;
    }
    std::ifstream in(path_, std::ios::binary);
    std::ostringstream content;
    content << in.rdbuf();
    const std::string file = content.str();
    const std::string bytes = file.substr(std::min(kDigest, file.size()));
    v1::Attachment attachment;
    if (!in || file.substr(0, kDigest) != digest_of(bytes) || !attachment.ParseFromString(bytes)) {
        why = path_ + ": broken; going on without it until a DR answers";
        return std::nullopt;
    }
    if (attachment.subscriber() != subscriber) {
        why = path_ + ": of subscriber \"" + attachment.subscriber() + "\", and not of \"" +
              subscriber + "\"; going on without it until a DR answers";
        return std::nullopt;
    }
    written_ = file;
    return attachment;
}

std::string AttachmentCache::save(const v1::Attachment& attachment) {
    std::string bytes = attachment.SerializeAsString();
    bytes.insert(0, digest_of(bytes));
    if (path_.empty() || bytes == written_) return {};
    std::string why;
    if (!process::replace_file(path_, bytes, 0600, &why)) return why;
    written_ = std::move(bytes);
    return {};
}

void AttachmentCache::remove() {
    if (!path_.empty()) ::unlink(path_.c_str());
    written_.clear();
}

}  // namespace dr::ur
