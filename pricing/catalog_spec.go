package pricing

import (
	"maps"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// spec is a row or a family as it is written: what it does not say is nil, so
// that a more specific one can be laid over a more general one.
type spec struct {
	node          *yaml.Node
	slug          string
	upstreamModel *string
	like          *string // slug of the row that says what this one does not
	family        *string
	aliases       []string
	dated         *bool
	endpoints     []Endpoint
	context       *int64
	maxOutput     *int64
	maxBatch      *int64
	defaultCap    *int64
	overhead      overheadSpec
	tokensPerByte *ratio
	nfkc          *bool
	tokenizer     *string
	inputBound    *string
	implicit      *bool
	flatCache     *bool
	thinksAsked   *bool
	reprints      *bool
	image         *imageRule
	pdfPage       *int64
	audioRate     *int64
	audioLeast    *int64
	audioMost     *int64
	draws         *drawRule
	searchTokens  *int64
	serviceTiers  map[string]ratio
	geos          map[string]ratio
	peaks         []peak
	prices        []priceSpec
	limitsSource  string
	limitsChecked *time.Time
	accepted      []Acceptance
	named         bool // by the operator
}

// imageRule bounds the input tokens of one image.
type imageRule struct {
	most    int64  // at any detail
	high    int64  // with detail high or low; 0: most
	patch   int64  // pixels of a patch's edge; 0: dimensions do not matter
	perUnit *ratio // tokens of a patch
}

// peak multiplies all token prices between two times of each UTC day, or of each
// weekday.
type peak struct {
	from, to int // minutes
	factor   ratio
	weekdays bool // Monday to Friday only
}

// priceSpec is one dated price list as written.
type priceSpec struct {
	node      *yaml.Node
	from      *time.Time // nil: every list there is, or from the beginning
	source    string
	checkedAt *time.Time
	base      rates
	fees      map[string]int64 // pico-USD per use
	tiers     []rates
	tiersSet  bool
	own       bool // an overlay says something of it
}

func readSpec(n *yaml.Node, family bool) (spec, error) {
	s := spec{node: n}
	readers := s.commonReaders()
	what := "the model"
	if family {
		what = "the family"
		readers["family"] = readString(&s.slug, "family")
	} else {
		readers["model"] = s.readSlug
		readers["upstream_model"] = set(&s.upstreamModel, text("upstream_model"))
		readers["like"] = set(&s.like, text("like"))
		readers["family"] = set(&s.family, text("family"))
		readers["aliases"] = func(n *yaml.Node) error {
			return readList(n, "aliases", func(n *yaml.Node) error {
				var a string
				err := readString(&a, "an alias")(n)
				s.aliases = append(s.aliases, a)
				return err
			})
		}
		readers["dated_versions"] = set(&s.dated, flag("dated_versions"))
		readers["prices"] = s.readPrices
		readers["accepted"] = s.readAccepted
	}
	if err := readMap(n, what, readers); err != nil {
		return s, err
	}
	if s.slug == "" {
		return s, lineError(n, "%s has no name; write model: provider/model", what)
	}
	return s, nil
}

func (s *spec) readSlug(n *yaml.Node) error {
	if err := readString(&s.slug, "model")(n); err != nil {
		return err
	}
	if provider, model, ok := strings.Cut(s.slug, "/"); !ok || provider == "" || model == "" {
		return lineError(n, "model is %q; write provider/model", clip(s.slug))
	}
	return nil
}

func (s *spec) commonReaders() map[string]func(*yaml.Node) error {
	return map[string]func(*yaml.Node) error{
		"endpoints": func(n *yaml.Node) error {
			return readList(n, "endpoints", func(n *yaml.Node) error {
				e := Endpoint(n.Value)
				if !e.Known() {
					return lineError(n, "endpoint is %q; write one of %v", clip(n.Value), Endpoints())
				}
				s.endpoints = append(s.endpoints, e)
				return nil
			})
		},
		"limits": func(n *yaml.Node) error {
			return readMap(n, "limits", map[string]func(*yaml.Node) error{
				"context":    set(&s.context, count("context")),
				"max_output": set(&s.maxOutput, count("max_output")),
				"max_batch":  set(&s.maxBatch, count("max_batch")),
				// Inserted when a body has no output cap.
				"default_output": set(&s.defaultCap, count("default_output")),
				"source":         readString(&s.limitsSource, "source"),
				"checked_at":     set(&s.limitsChecked, date("checked_at")),
			})
		},
		"overhead":               s.overhead.read,
		"tokens_per_byte":        set(&s.tokensPerByte, multiplier("tokens_per_byte")),
		"nfkc":                   set(&s.nfkc, flag("nfkc")),
		"tokenizer":              set(&s.tokenizer, oneOf("tokenizer", tokenizerNames()...)),
		"input_bound":            set(&s.inputBound, oneOf("input_bound", InputBoundBytes, InputBoundTokenizer)),
		"implicit_cache":         set(&s.implicit, flag("implicit_cache")),
		"flat_cache_read":        set(&s.flatCache, flag("flat_cache_read")),
		"thinks_only_when_asked": set(&s.thinksAsked, flag("thinks_only_when_asked")),
		"reprints_tools":         set(&s.reprints, flag("reprints_tools")),
		"image":                  s.readImage,
		// The most text tokens of a PDF's page, beside its image.
		"pdf_page_tokens":   set(&s.pdfPage, count("pdf_page_tokens")),
		"web_search_tokens": set(&s.searchTokens, count("web_search_tokens")),
		"audio": func(n *yaml.Node) error {
			return readMap(n, "audio", map[string]func(*yaml.Node) error{
				"tokens_per_second": set(&s.audioRate, count("tokens_per_second")),
				"min_seconds":       set(&s.audioLeast, count("min_seconds")),
				"max_seconds":       set(&s.audioMost, count("max_seconds")),
			})
		},
		"draws":         s.readDraws,
		"service_tiers": readRatios(&s.serviceTiers, "service_tiers"),
		"inference_geo": readRatios(&s.geos, "inference_geo"),
		"peaks":         s.readPeaks,
	}
}

func readRatios(into *map[string]ratio, what string) func(*yaml.Node) error {
	return func(n *yaml.Node) error {
		*into = make(map[string]ratio)
		return readEntries(n, what, func(key string, n *yaml.Node) error {
			var r ratio
			if len(key) > pinName {
				return lineError(n, "name %q in %s is longer than %d bytes; no provider has such a tier or region", clip(key), what, pinName)
			}
			if err := multiplier(what + "." + key)(&r)(n); err != nil {
				return err
			}
			(*into)[key] = r
			return nil
		})
	}
}

func (s *spec) readImage(n *yaml.Node) error {
	s.image = &imageRule{}
	err := readMap(n, "image", map[string]func(*yaml.Node) error{
		"max_tokens":       count("max_tokens")(&s.image.most),
		"high_tokens":      count("high_tokens")(&s.image.high),
		"patch":            count("patch")(&s.image.patch),
		"tokens_per_patch": set(&s.image.perUnit, multiplier("tokens_per_patch")),
	})
	if err == nil && s.image.most == 0 {
		err = lineError(n, "image has no max_tokens; write the most input tokens one image can take")
	}
	return err
}

// readDraws reads what an image costs that the model makes.
func (s *spec) readDraws(n *yaml.Node) error {
	r := &drawRule{}
	s.draws = r
	table := func(into map[string]int64, what string) func(*yaml.Node) error {
		return func(n *yaml.Node) error {
			return readEntries(n, what, func(key string, n *yaml.Node) error {
				var v int64
				err := count(what + "." + key)(&v)(n)
				into[key] = v
				return err
			})
		}
	}
	return readMap(n, "draws", map[string]func(*yaml.Node) error{
		"quality":        readString(&r.quality, "quality"),
		"size":           readString(&r.size, "size"),
		"partial_tokens": count("partial_tokens")(&r.partial),
		"text_tokens":    count("text_tokens")(&r.text),
		"max_pixels":     count("max_pixels")(&r.pixels),
		"factors": func(n *yaml.Node) error {
			r.factors = make(map[string]int64)
			return table(r.factors, "factors")(n)
		},
		"tokens": func(n *yaml.Node) error {
			r.tokens = make(map[string]map[string]int64)
			return readEntries(n, "tokens", func(key string, n *yaml.Node) error {
				r.tokens[key] = make(map[string]int64)
				return table(r.tokens[key], "tokens."+key)(n)
			})
		},
	})
}

func (s *spec) readPeaks(n *yaml.Node) error {
	s.peaks = []peak{}
	return readList(n, "peaks", func(n *yaml.Node) error {
		var p peak
		err := readMap(n, "a peak", map[string]func(*yaml.Node) error{
			"from":       clock("from", &p.from),
			"to":         clock("to", &p.to),
			"multiplier": multiplier("multiplier")(&p.factor),
			"weekdays":   flag("weekdays")(&p.weekdays),
		})
		if err == nil && len(s.peaks) >= pinMost {
			err = lineError(n, "a model has at most %d peaks", pinMost)
		}
		if err == nil && (p.from >= p.to || p.factor.den == 0 || one().above(p.factor)) {
			err = lineError(n, "a peak needs from before to, and a multiplier of at least 1")
		}
		s.peaks = append(s.peaks, p)
		return err
	})
}

func (s *spec) readPrices(n *yaml.Node) error {
	if err := readList(n, "prices", func(n *yaml.Node) error {
		p, err := readPrice(n)
		s.prices = append(s.prices, p)
		return err
	}); err != nil {
		return err
	}
	seen := make(map[time.Time]bool)
	for _, p := range s.prices {
		var from time.Time
		if p.from != nil {
			from = *p.from
		}
		if seen[from] {
			return lineError(p.node, "two price lists of %s start on the same day; give each its own from", s.slug)
		}
		seen[from] = true
	}
	return nil
}

func (s *spec) readAccepted(n *yaml.Node) error {
	return readList(n, "accepted", func(n *yaml.Node) error {
		var a Acceptance
		err := readMap(n, "an acceptance", map[string]func(*yaml.Node) error{
			"by": readString(&a.By, "by"),
			"at": date("at")(&a.At),
			"fields": func(n *yaml.Node) error {
				return readList(n, "fields", func(n *yaml.Node) error {
					var f string
					err := readString(&f, "a field")(n)
					a.Fields = append(a.Fields, f)
					return err
				})
			},
		})
		if err == nil && (a.By == "" || a.At.IsZero() || len(a.Fields) == 0) {
			err = lineError(n, "an acceptance needs by, at and fields")
		}
		s.accepted = append(s.accepted, a)
		return err
	})
}

func readPrice(n *yaml.Node) (priceSpec, error) {
	p := priceSpec{node: n}
	readers := rateReaders(&p.base)
	readers["from"] = set(&p.from, date("from"))
	readers["source"] = readString(&p.source, "source")
	readers["checked_at"] = set(&p.checkedAt, date("checked_at"))
	readers["fees"] = func(n *yaml.Node) error {
		p.fees = make(map[string]int64)
		return readEntries(n, "fees", func(key string, n *yaml.Node) error {
			micro, err := decimal(n, "fees."+clip(key))
			if err != nil {
				return err
			}
			if micro > 1000_000_000 {
				return lineError(n, "fees.%s is above 1000 dollars a use; write at most that", clip(key))
			}
			p.fees[key] = micro * 1_000_000
			return nil
		})
	}
	readers["tiers"] = func(n *yaml.Node) error {
		p.tiersSet = true
		return readList(n, "tiers", func(n *yaml.Node) error {
			var r rates
			readers := rateReaders(&r)
			readers["from"] = count("from")(&r.from)
			err := readMap(n, "a tier", readers)
			if err == nil && r.from == 0 {
				err = lineError(n, "the tier has no from; write the input tokens it starts at")
			}
			p.tiers = append(p.tiers, r)
			return err
		})
	}
	return p, readMap(n, "a price list", readers)
}

// all are its tiers with the lowest, which is the list itself.
func (p *priceSpec) all() []rates { return append([]rates{p.base}, p.tiers...) }

func (p *priceSpec) check(slug string) error {
	tiers := p.all()
	if err := checkTiers(tiers); err != nil {
		return lineError(p.node, "model %s: %w", slug, err)
	}
	if len(tiers) > pinMost/2 { // two lists may merge around a price change
		return lineError(p.node, "model %s has more than %d tiers; merge the dearest", slug, pinMost/2-1)
	}
	return nil
}

func rateReaders(r *rates) map[string]func(*yaml.Node) error {
	readers := make(map[string]func(*yaml.Node) error, bucketCount+5)
	for i, name := range bucketNames() {
		readers[name] = func(n *yaml.Node) error {
			v, err := decimal(n, name)
			r.set(bucket(i), v)
			return err
		}
	}
	return readers
}

// over lays a more specific spec on s, field by field.
func (s spec) over(o spec) spec {
	s.node, s.slug, s.named = o.node, o.slug, o.named
	pick(&s.upstreamModel, o.upstreamModel)
	pick(&s.like, o.like)
	pick(&s.family, o.family)
	pick(&s.dated, o.dated)
	pick(&s.context, o.context)
	pick(&s.maxOutput, o.maxOutput)
	pick(&s.maxBatch, o.maxBatch)
	pick(&s.defaultCap, o.defaultCap)
	s.overhead = s.overhead.over(o.overhead)
	pick(&s.tokensPerByte, o.tokensPerByte)
	pick(&s.nfkc, o.nfkc)
	pick(&s.tokenizer, o.tokenizer)
	pick(&s.inputBound, o.inputBound)
	pick(&s.implicit, o.implicit)
	pick(&s.flatCache, o.flatCache)
	pick(&s.thinksAsked, o.thinksAsked)
	pick(&s.reprints, o.reprints)
	pick(&s.image, o.image)
	pick(&s.pdfPage, o.pdfPage)
	pick(&s.audioRate, o.audioRate)
	pick(&s.audioLeast, o.audioLeast)
	pick(&s.audioMost, o.audioMost)
	if o.draws != nil {
		s.draws = o.draws
	}
	pick(&s.searchTokens, o.searchTokens)
	s.serviceTiers = merge(s.serviceTiers, o.serviceTiers)
	s.geos = merge(s.geos, o.geos)
	if o.aliases != nil {
		s.aliases = o.aliases
	}
	if o.endpoints != nil {
		s.endpoints = o.endpoints
	}
	if o.peaks != nil {
		s.peaks = o.peaks
	}
	s.prices = overPrices(s.prices, o.prices)
	pick(&s.limitsChecked, o.limitsChecked)
	if o.limitsSource != "" {
		s.limitsSource = o.limitsSource
	}
	if o.accepted != nil {
		s.accepted = o.accepted
	}
	return s
}

func pick[T any](base **T, over *T) {
	if over != nil {
		*base = over
	}
}

func merge[V any](base, over map[string]V) map[string]V {
	if len(over) == 0 {
		return base
	}
	out := maps.Clone(base)
	if out == nil {
		out = make(map[string]V)
	}
	maps.Copy(out, over)
	return out
}
