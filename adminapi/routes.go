package adminapi

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	aigatewayv1 "aigateway/api/gen/aigateway/v1"
)

// route is one binding of an rpc, as its google.api.http option has it.
type route struct {
	method string
	path   []string // a segment in braces stands for any one segment
	deep   bool     // the last one stands for one or more
	query  map[string]protoreflect.FieldDescriptor
	body   protoreflect.MessageDescriptor // nil: no body
	limit  int64                          // bytes of a body
	csv    bool                           // answers in CSV, too
	byTag  bool                           // streams the report by tag
}

// routesOf reads the routes from the descriptors: the check before the gateway
// then knows exactly what the gateway will read.
func routesOf() ([]route, error) {
	var out []route
	for _, s := range services() {
		d, err := s.descriptor()
		if err != nil {
			return nil, fmt.Errorf("descriptor of %s: %w", s.desc.ServiceName, err)
		}
		methods := d.Methods()
		for j := range methods.Len() {
			if methods.Get(j).IsStreamingServer() {
				continue // gRPC only
			}
			r, err := routeOf(methods.Get(j))
			if err != nil {
				return nil, fmt.Errorf("route of %s: %w", methods.Get(j).FullName(), err)
			}
			out = append(out, r)
		}
	}
	return out, nil
}

func routeOf(md protoreflect.MethodDescriptor) (route, error) {
	rule, _ := proto.GetExtension(md.Options(), annotations.E_Http).(*annotations.HttpRule)
	r := route{query: map[string]protoreflect.FieldDescriptor{}, limit: maxBodyBytes}
	path := ""
	switch p := rule.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		r.method, path = http.MethodGet, p.Get
	case *annotations.HttpRule_Post:
		r.method, path = http.MethodPost, p.Post
	case *annotations.HttpRule_Patch:
		r.method, path = http.MethodPatch, p.Patch
	case *annotations.HttpRule_Delete:
		r.method, path = http.MethodDelete, p.Delete
	default:
		return route{}, fmt.Errorf("no GET, POST, PATCH or DELETE in %v", rule)
	}
	path, r.deep = strings.CutSuffix(path, "=*/**}")
	if r.deep {
		path += "}"
	}
	r.path = strings.Split(strings.TrimPrefix(path, "/"), "/")
	r.csv = md.Output().FullName() == (&aigatewayv1.QueryUsageResponse{}).ProtoReflect().Descriptor().FullName()
	r.byTag = md.Output().FullName() == (&aigatewayv1.UsageByTagResponse{}).ProtoReflect().Descriptor().FullName()
	if rule.GetBody() == "*" {
		r.body, r.limit = md.Input(), maxExplainBytes
		return r, nil
	}
	fields := md.Input().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		switch name := string(fd.Name()); {
		case name == rule.GetBody():
			r.body = fd.Message()
		case strings.Contains(path, "{"+name+"}"):
		case name == "update_mask": // follows from the body's members
		default:
			r.query[name] = fd
		}
	}
	return r, nil
}

// match compares a method and a decoded path with r.
func (r *route) match(method, path string) bool {
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	if method != r.method || !strings.HasPrefix(path, "/") {
		return false
	}
	if r.deep && len(segments) > len(r.path) && !slices.Contains(segments, "") {
		segments = segments[:len(r.path)]
	}
	if len(segments) != len(r.path) {
		return false
	}
	for i, s := range segments {
		variable := strings.HasPrefix(r.path[i], "{")
		if variable && s == "" || !variable && s != r.path[i] {
			return false
		}
	}
	return true
}
