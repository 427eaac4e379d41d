package adminapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/grpc/metadata"

	aigatewayv1 "aigateway/api/gen/aigateway/v1"
	"aigateway/apierror"
	"aigateway/budget"
)

// pathModels is where both vendors' SDKs look for models.
const pathModels = "/v1/models"

// ofModels reports whether a path is about models.
func ofModels(path string) bool { return path == pathModels || strings.HasPrefix(path, pathModels+"/") }

// asAnthropic reports whether a caller wants models as Anthropic's API has them:
// its SDKs send this header with every request, and no other vendor's do.
func asAnthropic(r *http.Request) bool {
	return ofModels(r.URL.Path) && r.Header.Get("Anthropic-Version") != ""
}

// anthropicModel is a model in Anthropic's shape.
// https://platform.claude.com/docs/en/api/models-list
type anthropicModel struct {
	Type        string `json:"type"`
	ID          string `json:"id"`
	DisplayName string `json:"display_name"`
	CreatedAt   string `json:"created_at"` // the epoch: unknown, as there
}

type anthropicPage struct {
	Data    []anthropicModel `json:"data"`
	HasMore bool             `json:"has_more"`
	FirstID *string          `json:"first_id"`
	LastID  *string          `json:"last_id"`
}

// serveAnthropic answers about models in Anthropic's shape.
func (h *rest) serveAnthropic(w http.ResponseWriter, r *http.Request) {
	bearers, apiKeys := r.Header.Values("Authorization"), r.Header.Values("X-Api-Key")
	if _, err := authenticate(h.auth, bearers, apiKeys); err != nil {
		writeError(w, r, apierror.From(err))
		return
	}
	if len(bearers) == 0 {
		bearers = []string{"Bearer " + apiKeys[0]}
	}
	ctx := metadata.AppendToOutgoingContext(r.Context(), "authorization", bearers[0])
	var answer any
	if id, one := strings.CutPrefix(r.URL.Path, pathModels+"/"); one {
		m, err := h.models.GetModel(ctx, &aigatewayv1.GetModelRequest{Model: strings.ToValidUTF8(id, "?")})
		if err != nil {
			writeError(w, r, errorOf(err))
			return
		}
		answer = anthropicShape(m)
	} else {
		list, err := h.models.ListModels(ctx, &aigatewayv1.ListModelsRequest{})
		if err != nil {
			writeError(w, r, errorOf(err))
			return
		}
		page, err := anthropicPageOf(list.GetData(), r.URL.Query())
		if err != nil {
			writeError(w, r, apierror.From(err))
			return
		}
		answer = page
	}
	body, err := json.Marshal(answer)
	if err != nil {
		writeError(w, r, apierror.From(fmt.Errorf("marshal models: %w", err)))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body)
}

func anthropicShape(m *aigatewayv1.Model) anthropicModel {
	return anthropicModel{Type: "model", ID: m.GetId(), DisplayName: m.GetId(), CreatedAt: "1970-01-01T00:00:00Z"}
}

// anthropicPageOf cuts a page out of all models: those behind after_id, or the
// last ones before before_id.
func anthropicPageOf(all []*aigatewayv1.Model, query url.Values) (*anthropicPage, error) {
	const usual, most = 20, 1000
	limit := usual
	if text := query.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > most {
			return nil, budget.Invalid("field_invalid", "limit", fmt.Sprintf("limit is %q; use a whole number from 1 to %d", clip(text), most))
		}
		limit = n
	}
	find := func(name string) (int, error) {
		id := query.Get(name)
		i := slices.IndexFunc(all, func(m *aigatewayv1.Model) bool { return m.GetId() == id })
		if id != "" && i < 0 {
			return 0, budget.Invalid("field_invalid", name, fmt.Sprintf("%s is %q, which is no model of this key", name, clip(id)))
		}
		return i, nil
	}
	after, err := find("after_id")
	if err != nil {
		return nil, err
	}
	before, err := find("before_id")
	if err != nil {
		return nil, err
	}
	rest := all[after+1:]
	page := &anthropicPage{Data: []anthropicModel{}, HasMore: len(rest) > limit}
	if before >= 0 {
		rest = all[:before]
		page.HasMore = len(rest) > limit
		rest = rest[max(0, len(rest)-limit):]
	}
	for _, m := range rest[:min(limit, len(rest))] {
		page.Data = append(page.Data, anthropicShape(m))
	}
	if n := len(page.Data); n > 0 {
		page.FirstID, page.LastID = &page.Data[0].ID, &page.Data[n-1].ID
	}
	return page, nil
}
