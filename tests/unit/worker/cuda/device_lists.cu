// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/check.hpp"
#include "tests/unit/worker/cuda/device_lists.hpp"
#include "worker/model/cuda_lists.cuh"

namespace worker::model::test {

void with_device_lists(std::span<const float> rows, std::span<const ShortlistWish> wishes,
                       const std::function<void(std::span<const Shortlist>)>& use) {
    cudaStream_t stream = nullptr;
    MR_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    const auto there = DeviceArray<float>::copy(rows);
    MR_CHECK(there.has_value());
    RowLists lists(static_cast<std::uint32_t>(rows.size() / wishes.size()));
    MR_CHECK(lists.make_room(wishes.size()));
    lists.order(wishes, stream);
    lists.launch(there->get(), static_cast<unsigned>(wishes.size()), stream);
    use(lists.read(stream));
    cudaStreamDestroy(stream);
}

}  // namespace worker::model::test
