package envoy

import (
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	localv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/local_ratelimit/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// maxAddresses are remembered by addressLimit; one that is forgotten, the one
// that asked longest ago, begins anew.
const maxAddresses = 65_536

// addressLimit lets rate requests per second pass from one address, after a
// burst of as many, before anything is kept of them; workers count together. Who
// has IPv6 has a /64 of addresses at least, so those count as one. An entry
// without a value has a bucket for each value there is.
func addressLimit(rate int) *localv3.LocalRateLimit {
	const key = "masked_remote_address"
	bucket := func(n uint32) *typev3.TokenBucket {
		return &typev3.TokenBucket{MaxTokens: n, TokensPerFill: wrapperspb.UInt32(n), FillInterval: durationpb.New(time.Second)}
	}
	always := &corev3.RuntimeFractionalPercent{DefaultValue: &typev3.FractionalPercent{Numerator: 100}}
	return &localv3.LocalRateLimit{
		StatPrefix: "address", FilterEnabled: always, FilterEnforced: always, EnableRetryAfterHeader: true,
		RateLimits: []*routev3.RateLimit{{Actions: []*routev3.RateLimit_Action{{
			ActionSpecifier: &routev3.RateLimit_Action_MaskedRemoteAddress_{
				MaskedRemoteAddress: &routev3.RateLimit_Action_MaskedRemoteAddress{V6PrefixMaskLen: wrapperspb.UInt32(64)},
			},
		}}}},
		Descriptors: []*ratelimitv3.LocalRateLimitDescriptor{{
			Entries: []*ratelimitv3.RateLimitDescriptor_Entry{{Key: key}}, TokenBucket: bucket(uint32(rate)),
		}},
		MaxDynamicDescriptors: wrapperspb.UInt32(maxAddresses),
		// What has no address, nothing bounds.
		TokenBucket: bucket(math.MaxUint32), AlwaysConsumeDefaultTokenBucket: wrapperspb.Bool(false),
	}
}

// KeyFirst matches POST requests to paths, with or without a slash at the end,
// whose caller shows a key before the body is taken: always from 1,000,000 bytes,
// or when no length is told; below while half of memory, the bytes that Envoy may
// use, is taken or promised, so that callers with a key have the other half; and
// from 100,000 bytes while half of what that leaves is promised. Requests that
// Check has decided do not match.
//
// An Envoy with that many workers must evaluate it once for each call, so one
// route has it: Envoy looks at headers before it looks at the route's path, and
// each route counts by itself. Where memory is 0, or Envoy cannot tell what it
// uses (no Linux), it matches from 10,000 bytes.
func KeyFirst(memory int64, workers int, paths []string) ([]*routev3.HeaderMatcher, error) {
	large, err := luaMatcher(fmt.Sprintf(keyFirst, memory/2, os.Getpagesize(), max(workers, 1), int(RequestTimeout.Seconds())))
	if err != nil {
		return nil, err
	}
	at, err := luaMatcher(matchesPath(paths))
	if err != nil {
		return nil, err
	}
	post := &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: "POST"}}
	return []*routev3.HeaderMatcher{ // in this order: the path matters to few calls only
		{Name: ":method", HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: post}},
		{Name: HeaderUpstream, HeaderMatchSpecifier: &routev3.HeaderMatcher_PresentMatch{PresentMatch: false}},
		{Name: "content-length", TreatMissingHeaderAsEmpty: true, HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: large}},
		{Name: ":path", HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: at}},
	}, nil
}

// matchesPath is Lua, as a regular expression of all paths is longer than Envoy
// takes.
func matchesPath(paths []string) string {
	var b strings.Builder
	b.WriteString("local paths = {")
	for _, p := range paths {
		fmt.Fprintf(&b, "[%q]=true,", p)
	}
	b.WriteString(`}
function envoy_match(path)
  local query = string.find(path, "?", 1, true)
  if query then path = string.sub(path, 1, query - 1) end
  if string.byte(path, -1) == 47 then path = string.sub(path, 1, -2) end
  return paths[path] == true
end
`)
	return b.String()
}

// keyFirst looks at the memory once for about 64 KiB of bodies. A body that was
// let in without a key may come for as long as a request may take, after the
// memory was looked at; so what was announced in that time counts, too, and as
// much for each other worker. Of a large body's cost a second question is a small
// part, and a few of them are many promises: they leave half of what is free to
// the small ones.
const keyFirst = `
local most, page, workers, keep = %d, %d, %d, %d
local find, time, open, floor = string.find, os.time, io.open, math.floor
local SPAN = 10 -- seconds
local spans, at, last, announced = {}, 1, 0, 0 -- by span, the latest of them, its number, the sum
for i = 1, math.ceil(keep / SPAN) + 1 do spans[i] = 0 end
local unseen, used = 65536, nil
local file -- stays open: opening it costs ten times what reading does

local function look()
  unseen, used = 0, nil
  if not file then
    file = open("/proc/self/statm")
    if not file then return end
    file:setvbuf("no") -- or what was read once would be read again
  end
  file:seek("set", 0)
  local _, _, resident, shared = find(file:read(256) or "", "^%%d+ (%%d+) (%%d+)")
  if shared then used = (resident - shared) * page end
end

local function turn(span)
  for _ = 1, math.min(span - last, #spans) do -- none when the clock was set back
    at = at %% #spans + 1
    announced, spans[at] = announced - spans[at], 0
  end
  last = span
end

function envoy_match(length)
  if length == "" or #length > 6 or find(length, "%%D") then return true end
  local n, large, span = tonumber(length), #length == 6, floor(time() / SPAN)
  if span ~= last then turn(span) end
  unseen = unseen + n + 4096
  if unseen >= 65536 then look() end
  if most == 0 or not used then return #length > 4 end
  local free = large and (most - used) / 2 or most - used
  if workers * (announced + n) > free then return true end
  announced, spans[at] = announced + n, spans[at] + n
  return false
end
`
