export { Holdfast, type HoldOptions, type SettleOptions } from "./client.js";
export * from "./errors.js";
export { Follower, type ConnectionState, type FollowOptions } from "./follow.js";
export { SeatStates } from "./seats.js";
export type { CallOptions, HoldfastOptions, RetryOptions, WebSocketClass, WebSocketLike } from "./transport.js";
export type { Admission, WaitOptions } from "./waiting.js";
export type * from "./types.js";
export type { components, operations, paths } from "./schema.js";
