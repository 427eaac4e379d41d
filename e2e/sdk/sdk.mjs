// What the Node scripts share. The SDKs are installed outside their tree.

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

export const load = createRequire(pathToFileURL(process.env.SDK_DIR + "/"));

export const report = (results) => process.stdout.write(JSON.stringify(results) + "\n");
