/* Expert products for many rows per expert: the kernel that fits the device. */
#include "kernels/cuda/cuda_experts_mma.cuh"
#include "kernels/cuda/cuda_experts_wgmma.cuh"

cudaError_t expert_large_prepare(ops_context *c)
{
    c->wgmma = wgmma_runs_here();
    cudaGetLastError();
    return c->wgmma ? wgmma_prepare() : mma_prepare();
}

void expert_large_launch(ops_context *c, expert_product product, const expert_args *args, int tile, int max_items)
{
    if (c->wgmma)
        wgmma_launch(c, product, args, max_items);
    else
        mma_launch(c, product, args, tile, max_items);
}
