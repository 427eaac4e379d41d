package noopauthz

import (
	"context"
	"fmt"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"aigateway/envoy/wire"
)

// Stock is a server as the gRPC tutorial makes one: default options, generated
// types.
func Stock() *grpc.Server {
	s := grpc.NewServer(grpc.MaxRecvMsgSize(16 << 20))
	authv3.RegisterAuthorizationServer(s, generated{})
	return s
}

// Tuned is a server with the gateway's own options, which reads nothing of a
// request and sends the same bytes each time. Only a decision is missing.
func Tuned() (*grpc.Server, error) {
	yes, err := proto.Marshal(answer())
	if err != nil {
		return nil, fmt.Errorf("encode the answer: %w", err)
	}
	s := grpc.NewServer(wire.ServerOptions()...)
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: authv3.Authorization_ServiceDesc.ServiceName,
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Check", Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			if err := decode(blind{}); err != nil {
				return nil, fmt.Errorf("decode: %w", err)
			}
			return fixed(yes), nil
		}}},
	}, struct{}{})
	return s, nil
}

func answer() *authv3.CheckResponse {
	return &authv3.CheckResponse{Status: &status.Status{}, HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{}}}
}

type generated struct {
	authv3.UnimplementedAuthorizationServer
}

// Check implements authv3.AuthorizationServer.
func (generated) Check(context.Context, *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	return answer(), nil
}

// blind is a request that is not read.
type blind struct{}

// ReadWire implements wire.Reader.
func (blind) ReadWire(mem.BufferSlice) error { return nil }

// fixed is an answer that is encoded already.
type fixed []byte

// AppendWire implements wire.Writer.
func (f fixed) AppendWire(dst []byte) ([]byte, error) { return append(dst, f...), nil }
