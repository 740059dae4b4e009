import { OFA } from "ofa-web"; console.log(OFA);
