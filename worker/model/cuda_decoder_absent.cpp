// SPDX-License-Identifier: Apache-2.0
// CudaDecoder of a build without CUDA.
#include "worker/model/cuda_decoder.hpp"

namespace worker::model {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {
constexpr const char* kAbsent =
    "this build has no CUDA; configure it with -DMILLRACE_CUDA=ON, or choose the device \"cpu\"";
}  // namespace

struct CudaDecoder::State {};

CudaDecoder::CudaDecoder(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
CudaDecoder::~CudaDecoder() = default;

Result<CudaDecoder::Memory> CudaDecoder::memory() {
    return fail(ErrorCode::unsupported, kAbsent);
}
std::uint64_t CudaDecoder::page_bytes(const DecoderConfig& /*config*/) noexcept {
    return 0;
}
Result<std::unique_ptr<CudaDecoder>> CudaDecoder::create(const DecoderModel& /*model*/,
                                                         const Options& /*options*/,
                                                         kernels::Pool& /*pool*/) {
    return fail(ErrorCode::unsupported, kAbsent);
}
std::span<const float> CudaDecoder::logits(std::span<const DecoderRow> /*rows*/) {
    return {};
}
std::span<const float> CudaDecoder::hidden(std::span<const DecoderRow> /*rows*/) {
    return {};
}
std::span<const Shortlist> CudaDecoder::shorten(std::span<const DecoderRow> /*rows*/,
                                                std::span<const ShortlistWish> /*wishes*/) {
    return {};
}
std::span<const float> CudaDecoder::row(std::size_t /*wanted*/) {
    return {};
}

}  // namespace worker::model
