package pricing_test

import (
	"math"
	"math/big"
	"testing"

	"aigateway/pricing"

	"pgregory.net/rapid"
)

func big128(hi, lo uint64) *big.Int {
	v := new(big.Int).SetUint64(hi)
	return v.Lsh(v, 64).Add(v, new(big.Int).SetUint64(lo))
}

// The 128-bit arithmetic equals math/big's, or says that it overflowed.
func TestWideMatchesBig(t *testing.T) {
	edge := rapid.OneOf(rapid.Uint64(), rapid.SampledFrom([]uint64{0, 1, 999, 1000, math.MaxUint64}), rapid.Uint64Max(1<<20))
	rapid.Check(t, func(t *rapid.T) {
		hi, lo := edge.Draw(t, "hi"), edge.Draw(t, "lo")
		num, den := edge.Draw(t, "num"), max(1, edge.Draw(t, "den"))
		count, pico := int64(edge.Draw(t, "count")>>1), int64(edge.Draw(t, "pico")>>1)

		sum := new(big.Int).Mul(big.NewInt(count), big.NewInt(pico))
		sum.Add(sum, big128(hi, lo))
		rhi, rlo, ok := pricing.SumProduct(hi, lo, count, pico)
		if ok != (sum.BitLen() <= 128) || ok && big128(rhi, rlo).Cmp(sum) != 0 {
			t.Fatalf("sum is %s, got %s, %t", sum, big128(rhi, rlo), ok)
		}

		product := new(big.Int).Mul(big128(hi, lo), new(big.Int).SetUint64(num))
		want, rest := new(big.Int).QuoRem(product, new(big.Int).SetUint64(den), new(big.Int))
		if rest.Sign() > 0 {
			want.Add(want, big.NewInt(1))
		}
		rhi, rlo, ok = pricing.Scale(hi, lo, num, den)
		if ok && big128(rhi, rlo).Cmp(want) != 0 {
			t.Fatalf("scaled is %s, got %s", want, big128(rhi, rlo))
		}
		if !ok && num != den && product.BitLen() <= 128 && want.BitLen() <= 128 {
			t.Fatalf("scaled is %s, got an overflow", want)
		}
	})
	if _, _, ok := pricing.SumProduct(0, 0, -1, 1); ok {
		t.Error("a negative count is no sum")
	}
}
