export { type CatalogPartition, type CatalogTopic, partitionsOf } from "./catalog-state.ts";
export type { ClusterCatalog } from "./cluster-catalog.ts";
export { groupQuestions } from "./group-questions.ts";
