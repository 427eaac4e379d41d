package adminapi

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/emptypb"

	aigatewayv1 "aigateway/api/gen/aigateway/v1"
	"aigateway/budget"
)

// KeyStore keeps keys. Changes are durable before they return. Lists are in the
// order of ids, after the id given, at most limit long. All its errors are
// *budget.Error or internal; it is safe for concurrent use.
type KeyStore interface {
	CreateKey(ctx context.Context, k budget.Key, by budget.Author) (key budget.Key, secret string, err error)
	GetKey(id string) (budget.Key, error)
	ListKeys(after string, limit int) ([]budget.Key, error)
	DeleteKey(ctx context.Context, id string, by budget.Author) error
}

type keyService struct {
	aigatewayv1.UnimplementedKeyServiceServer
	keys KeyStore
	now  func() time.Time
}

const (
	maxNameBytes  = 64
	maxKeyEntries = 100 // of allowed_tags and of allowed_models: each call walks them
	maxSlugBytes  = 256
)

func (s *keyService) CreateKey(ctx context.Context, req *aigatewayv1.CreateKeyRequest) (*aigatewayv1.CreateKeyResponse, error) {
	k, err := s.newKey(req.GetKey())
	if err != nil {
		return nil, err
	}
	k, secret, err := s.keys.CreateKey(ctx, k, author(caller(ctx), req))
	if err != nil {
		return nil, err
	}
	return &aigatewayv1.CreateKeyResponse{Key: keyProto(k), Secret: secret}, nil
}

func (s *keyService) newKey(in *aigatewayv1.Key) (budget.Key, error) {
	if in == nil {
		return budget.Key{}, budget.Invalid("field_invalid", "key", "key is missing; send a name and scopes")
	}
	if err := refuseReadOnly(in); err != nil {
		return budget.Key{}, err
	}
	k := budget.Key{Name: in.GetName(), AllowedModels: in.GetAllowedModels(), Defaults: defaultsOf(in)}
	if msg := nameProblem(k.Name); msg != "" {
		return budget.Key{}, budget.Invalid("field_invalid", "name", "name "+msg)
	}
	err := k.Defaults.Check()
	if err != nil {
		return budget.Key{}, err
	}
	if in.GetMaxWait() != nil {
		if err := in.GetMaxWait().CheckValid(); err != nil {
			return budget.Key{}, budget.Invalid("field_invalid", "max_wait", `max_wait is no duration; write seconds, such as "2.5s"`)
		}
		wait := in.GetMaxWait().AsDuration()
		k.MaxWait = &wait
	}
	if err := budget.CheckMaxWait(k.MaxWait); err != nil {
		return budget.Key{}, err
	}
	if k.Scopes, err = scopes(in.GetScopes()); err != nil {
		return budget.Key{}, err
	}
	if err := keyTags(&k, in); err != nil {
		return budget.Key{}, err
	}
	if len(k.AllowedTags) > 0 && k.Has(budget.ScopeAdmin) {
		return budget.Key{}, budget.Invalid("field_invalid", "allowed_tags", "allowed_tags would limit the scope admin, which is for all tags; leave it out, or use the scopes inference, usage and budgets")
	}
	if err := checkModels(k.AllowedModels); err != nil {
		return budget.Key{}, err
	}
	if in.GetExpireTime() != nil {
		if err := in.GetExpireTime().CheckValid(); err != nil {
			return budget.Key{}, budget.Invalid("field_invalid", "expire_time", "expire_time is no time; write RFC 3339, such as 2027-01-01T00:00:00Z")
		}
		k.ExpireTime = in.GetExpireTime().AsTime()
		if now := s.now(); !k.ExpireTime.After(now) || k.ExpireTime.Year() > 2200 {
			return budget.Key{}, budget.Invalid("field_invalid", "expire_time", fmt.Sprintf("expire_time is %s; use a time after now, until 2200, or leave it out", k.ExpireTime.Format(time.RFC3339)))
		}
	}
	return k, nil
}

func nameProblem(s string) string {
	switch {
	case s == "":
		return "is missing; say who or what uses the key"
	case len(s) > maxNameBytes:
		return fmt.Sprintf("is %d bytes long; use at most %d", len(s), maxNameBytes)
	case !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "has characters that cannot be printed; leave them out"
	default:
		return ""
	}
}

func scopes(names []string) ([]budget.Scope, error) {
	if len(names) == 0 {
		return nil, budget.Invalid("field_invalid", "scopes", `scopes is missing; say what the key may do, such as "scopes":["inference"]`)
	}
	var out []budget.Scope
	for _, name := range names {
		scope, err := budget.ParseScope("scopes", clip(name))
		if err != nil {
			return nil, err
		}
		if slices.Contains(out, scope) {
			return nil, budget.Invalid("field_invalid", "scopes", fmt.Sprintf("scopes has %s twice", name))
		}
		out = append(out, scope)
	}
	return out, nil
}

func keyTags(k *budget.Key, in *aigatewayv1.Key) error {
	if n := len(in.GetAllowedTags()); n > maxKeyEntries {
		return budget.Invalid("field_invalid", "allowed_tags", fmt.Sprintf("allowed_tags has %d entries; use at most %d, and /** for subtrees", n, maxKeyEntries))
	}
	for _, s := range in.GetAllowedTags() {
		p, err := budget.ParseTagPattern("allowed_tags", s)
		if err != nil {
			return err
		}
		k.AllowedTags = append(k.AllowedTags, p)
	}
	if in.GetDefaultTag() == "" {
		return nil
	}
	// A default is one tag. Parsed as a pattern only for the field's name in
	// the error: "team/**" is then a tag like any other.
	if _, err := budget.ParseTagPattern("default_tag", in.GetDefaultTag()); err != nil {
		return err
	}
	if _, err := budget.ParseTag(in.GetDefaultTag()); err != nil {
		return budget.Invalid("tag_invalid", "default_tag", fmt.Sprintf("default_tag is no tag; use 1 to %d printable bytes", budget.MaxTagBytes))
	}
	k.DefaultTag = budget.Tag(in.GetDefaultTag())
	if !k.MayUseTag(k.DefaultTag) {
		return budget.Invalid("field_invalid", "default_tag", fmt.Sprintf("default_tag is %q, which allowed_tags does not allow; add it there", in.GetDefaultTag()))
	}
	return nil
}

func checkModels(models []string) error {
	if n := len(models); n > maxKeyEntries {
		return budget.Invalid("field_invalid", "allowed_models", fmt.Sprintf("allowed_models has %d entries; use at most %d, and provider/* for all of a provider", n, maxKeyEntries))
	}
	for _, m := range models {
		provider, model, ok := strings.Cut(m, "/")
		bad := strings.ContainsFunc(m, func(r rune) bool { return !unicode.IsPrint(r) || unicode.IsSpace(r) })
		if !ok || provider == "" || model == "" || bad || len(m) > maxSlugBytes || strings.Contains(strings.TrimSuffix(m, "/*"), "*") {
			return budget.Invalid("field_invalid", "allowed_models", fmt.Sprintf("allowed_models has %q; write provider/model or provider/*", clip(m)))
		}
	}
	return nil
}

func (s *keyService) ListKeys(_ context.Context, req *aigatewayv1.ListKeysRequest) (*aigatewayv1.ListKeysResponse, error) {
	size, err := pageSize(req.GetPageSize())
	if err != nil {
		return nil, err
	}
	found, next, err := page(req.GetPageToken(), size, s.keys.ListKeys, func(k budget.Key) string { return k.ID }, func(budget.Key) bool { return true })
	if err != nil {
		return nil, err
	}
	resp := &aigatewayv1.ListKeysResponse{NextPageToken: next}
	for _, k := range found {
		resp.Keys = append(resp.Keys, keyProto(k))
	}
	return resp, nil
}

func (s *keyService) GetKey(_ context.Context, req *aigatewayv1.GetKeyRequest) (*aigatewayv1.Key, error) {
	k, err := s.keys.GetKey(req.GetId())
	if isNotFound(err) {
		return nil, notFound("key", req.GetId())
	}
	if err != nil {
		return nil, err
	}
	return keyProto(k), nil
}

func (s *keyService) DeleteKey(ctx context.Context, req *aigatewayv1.DeleteKeyRequest) (*emptypb.Empty, error) {
	err := s.keys.DeleteKey(ctx, req.GetId(), author(caller(ctx), req))
	if isNotFound(err) {
		return nil, notFound("key", req.GetId())
	}
	if err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}
